-- Does quantization regularise: the metric on training data less the one on test data, by bits?
-- Of completed retrain trials, at their last epoch; `failed` is the number of those that have no such model.
-- `gap` is above 0 where training data do better. The training metric is a running one of the last epoch, with
-- augmentation where there is any, so that a gap by itself says little: `change` is the gap less that of the 32/32
-- control of the same optimizer, over the n_pairs of the same repeat and seed; below 0, quantization regularises.
-- Intervals: Student's t, NULL below 2.
WITH gaps AS (
    SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.base_optimizer,
           t.repeat, t.seed, t.control, t.metric, t.unit, t.weight_bits = 32 AND t.activation_bits = 32 AS is_control,
           CASE WHEN t.status = 'completed' THEN e.train_metric END AS train,
           CASE WHEN t.status = 'completed' THEN t.test_metric END AS test, t.sign * (train - test) AS gap
    FROM whole_trials t LEFT JOIN epochs e
         ON e.study_id = t.file_id AND e.trial_key = t.trial_key AND e.epoch = t.epochs_run
    WHERE t.stage = 'retrain' AND t.ended AND t.status <> 'stopped'),
control AS (
    SELECT study_id, mode, workload, base_optimizer, repeat, seed, avg(gap) AS control_gap
    FROM gaps
    WHERE is_control AND control IS NULL
    GROUP BY study_id, mode, workload, base_optimizer, repeat, seed),
paired AS (
    SELECT g.*, CASE WHEN NOT is_control THEN gap - control_gap END AS change
    FROM gaps g LEFT JOIN control USING (study_id, mode, workload, base_optimizer, repeat, seed)),
grouped AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, count(gap) AS n,
           count(*) - count(gap) AS failed, avg(train) FILTER (gap IS NOT NULL) AS train_metric,
           avg(test) FILTER (gap IS NOT NULL) AS test_metric, avg(gap) AS gap,
           stddev_samp(gap) / sqrt(count(gap)) AS gap_error, count(change) AS n_pairs, avg(change) AS change,
           stddev_samp(change) / sqrt(count(change)) AS change_error
    FROM paired
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, failed, train_metric, test_metric,
       gap, gap - t.t * gap_error AS ci_low, gap + t.t * gap_error AS ci_high, n_pairs, change,
       change - c.t * change_error AS change_ci_low, change + c.t * change_error AS change_ci_high, metric, unit
FROM grouped LEFT JOIN student_t t ON t.df = least(n - 1, 1000) LEFT JOIN student_t c ON c.df = least(n_pairs - 1, 1000)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer
