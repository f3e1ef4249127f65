-- Which configurations are on the front of a search with several objectives, and what are they worth trained again?
-- Of studies with `search.objectives`. A point is the best completed trial of a scheme by its final validation metric
-- (`searched`) that no trial of the arm dominates: none is at least as good in every objective and better in one. A trial
-- that is no better than the constant predictor is a point only where no trial is better. `chosen`: a point that got the
-- retrain seeds; a front may have more of them (`selection.front`). `again` is the mean of the validation metric over
-- these `n` seeds, `mean` that of the test metric with its Student's t interval; a trial that diverged, ran out of memory,
-- failed or collapsed counts as the trivial score, and there is no interval where some did. `holds`: whether the point is
-- still on the front of the chosen ones by `again`; NULL for one that is not trained again, or while one of these is not.
WITH trained AS (
    SELECT *, sign * (val_metric - trivial_score) > 0 AS above
    FROM whole_trials
    WHERE objectives_json IS NOT NULL AND tuning AND status = 'completed' AND val_metric IS NOT NULL),
able AS (
    SELECT * FROM trained
    QUALIFY above IS NOT false OR NOT bool_or(above IS NOT false) OVER (PARTITION BY study_id, arm_id)),
of_scheme AS (
    SELECT * FROM able
    QUALIFY row_number() OVER (PARTITION BY study_id, arm_id, weight_bits, activation_bits
                               ORDER BY sign * val_metric DESC, trial_key DESC) = 1),
-- A cost that is no objective is the same for all of them here.
priced AS (
    SELECT o.*, s.weight_bytes, s.stored_bytes, s.activation_bytes, s.bit_operations,
           [if(contains(objectives_json, '"weight_bytes"'), s.weight_bytes, 0),
            if(contains(objectives_json, '"stored_bytes"'), s.stored_bytes, 0),
            if(contains(objectives_json, '"activation_bytes"'), s.activation_bytes, 0),
            if(contains(objectives_json, '"bit_operations"'), s.bit_operations, 0)] AS costs
    FROM of_scheme o JOIN scheme_costs s USING (study_id, mode, workload, method, weight_bits, activation_bits)),
dominated AS (
    SELECT DISTINCT a.study_id, a.arm_id, a.trial_key
    FROM priced a JOIN priced b USING (study_id, arm_id)
    WHERE a.trial_key <> b.trial_key AND b.sign * b.val_metric >= a.sign * a.val_metric
      AND b.costs[1] <= a.costs[1] AND b.costs[2] <= a.costs[2] AND b.costs[3] <= a.costs[3] AND b.costs[4] <= a.costs[4]
      AND (b.sign * b.val_metric > a.sign * a.val_metric OR b.costs <> a.costs OR b.trial_key > a.trial_key)),
again AS (
    SELECT study_id, arm_id, config_id, avg(validation_score) AS again, avg(test_score) AS mean, count(*) AS n,
           CASE WHEN count(*) FILTER (status <> 'completed' OR test_metric IS NULL OR collapsed) IN (0, count(*))
                THEN stddev_samp(test_score) / sqrt(count(*)) END AS standard_error
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped'
    GROUP BY ALL),
points AS (
    SELECT p.study_id, p.mode, p.workload, p.method, p.weight_bits, p.activation_bits, p.optimizer, p.learning_rate,
           p.batch_size, p.weight_bytes, p.stored_bytes, p.activation_bytes, p.bit_operations, p.val_metric AS searched,
           p.of_front AS chosen, g.again, g.mean, g.standard_error, coalesce(g.n, 0) AS n, p.metric, p.unit, p.sign,
           p.arm_id, p.config_id, p.trial_key, p.costs, p.objectives_json,
           count(*) FILTER (p.of_front AND g.n IS NULL) OVER (PARTITION BY p.study_id, p.arm_id) AS missing
    FROM priced p ANTI JOIN dominated d USING (study_id, arm_id, trial_key)
    LEFT JOIN again g USING (study_id, arm_id, config_id)),
beaten AS (
    SELECT DISTINCT a.study_id, a.arm_id, a.trial_key
    FROM points a JOIN points b USING (study_id, arm_id)
    WHERE a.trial_key <> b.trial_key AND a.chosen AND b.chosen AND b.sign * b.again >= a.sign * a.again
      AND b.costs[1] <= a.costs[1] AND b.costs[2] <= a.costs[2] AND b.costs[3] <= a.costs[3] AND b.costs[4] <= a.costs[4])
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, learning_rate, batch_size, weight_bytes,
       stored_bytes, activation_bytes, bit_operations, searched, chosen, again,
       CASE WHEN chosen AND missing = 0 THEN b.trial_key IS NULL END AS holds, mean,
       if(unit IN ('fraction', 'percent') AND mean - t * standard_error < 0, 0, mean - t * standard_error) AS ci_low,
       CASE WHEN unit = 'fraction' AND mean + t * standard_error > 1 THEN 1
            WHEN unit = 'percent' AND mean + t * standard_error > 100 THEN 100
            ELSE mean + t * standard_error END AS ci_high,
       n, metric, unit, objectives_json AS objectives, arm_id, config_id, trial_key
FROM points p LEFT JOIN beaten b USING (study_id, arm_id, trial_key)
LEFT JOIN student_t ON df = least(n - 1, 1000)
ORDER BY study_id, workload, method, arm_id, sign * searched DESC, trial_key
