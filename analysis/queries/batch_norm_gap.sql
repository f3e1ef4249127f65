-- How far off are batch-norm statistics: the metric before and after they are estimated anew, by optimizer and bits?
-- At the last epoch of completed trials, on validation data. A trial that does not estimate them anew (the study says
-- bn_reestimation_batches = 0, or the model has no batch norm) has no metric before, and is not in n.
-- `gap` is what the running statistics of training cost, above 0 where the new ones are better; interval: Student's t
-- over the n trials, NULL below 2.
WITH gaps AS (
    SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.metric,
           t.unit, e.val_metric_pre_bn AS before, e.val_metric AS after,
           t.sign * (e.val_metric - e.val_metric_pre_bn) AS gap
    FROM whole_trials t JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key
    WHERE t.status = 'completed' AND e.epoch = t.epochs_run
      AND e.val_metric IS NOT NULL AND e.val_metric_pre_bn IS NOT NULL),
grouped AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, count(*) AS n,
           avg(before) AS val_metric_pre_bn, avg(after) AS val_metric, avg(gap) AS gap, max(gap) AS largest_gap,
           stddev_samp(gap) / sqrt(count(*)) AS standard_error
    FROM gaps
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, val_metric_pre_bn, val_metric, gap,
       gap - t * standard_error AS ci_low, gap + t * standard_error AS ci_high, largest_gap, metric, unit
FROM grouped LEFT JOIN student_t ON df = least(n - 1, 1000)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, gap DESC, optimizer
