-- Which optimizer is best per workload and bit width: mean on test data over retrain seeds, with a 95 % interval?
-- Of the configuration that each arm chose on validation data. An arm without ended retrain trials is left out, unless
-- all its trials have ended and none was completed: it had nothing to choose, and stands last with n = 0.
-- A trial that diverged, ran out of memory or failed counts as the trivial score, never as nothing (`diverged`), and so
-- does one that collapsed: completed, and no better than the constant predictor (`collapsed`).
-- Where an arm has several repeats a repeat is one value, the mean over its seeds, and `n` counts repeats.
-- Interval: Student's t over the n values, cut to what a fraction or percentage can be; NULL below 2, and where some of
-- the trials failed or collapsed and others did not: values on two humps have no such interval. learning_rate and
-- batch_size are NULL where repeats chose differently. In mode joint one search went over all optimizers: its row is the
-- best configuration found, no ranking of optimizers, and has no place.
WITH scored AS (
    SELECT *, status <> 'completed' OR test_metric IS NULL AS failed,
           CASE WHEN min(repeat) OVER board < max(repeat) OVER board THEN CAST(repeat AS VARCHAR) ELSE trial_key END
               AS replicate
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped'
    WINDOW board AS (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits)),
replicates AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, replicate,
           avg(test_score) AS score, count(*) AS trials, count(*) FILTER (failed) AS diverged,
           count(*) FILTER (collapsed AND NOT failed) AS collapsed, min(learning_rate) AS least_rate,
           max(learning_rate) AS most_rate, min(batch_size) AS least_batch, max(batch_size) AS most_batch,
           any_value(trivial_test_score) AS trivial,
           any_value(CAST(baselines_json ->> '$.test.bicubic' AS DOUBLE)) AS bicubic,
           any_value(CAST(baselines_json ->> '$.test.nearest' AS DOUBLE)) AS nearest
    FROM scored
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, replicate),
board AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign,
           avg(score) AS mean, CAST(sum(diverged) AS BIGINT) AS diverged, CAST(sum(collapsed) AS BIGINT) AS collapsed,
           CASE WHEN sum(diverged + replicates.collapsed) IN (0, sum(trials)) THEN
               stddev_samp(score) / sqrt(count(*)) END AS standard_error,
           count(*) AS n, CASE WHEN min(least_rate) = max(most_rate) THEN min(least_rate) END AS learning_rate,
           CASE WHEN min(least_batch) = max(most_batch) THEN min(least_batch) END AS batch_size,
           any_value(trivial) AS trivial, any_value(bicubic) AS bicubic, any_value(nearest) AS nearest
    FROM replicates
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign),
hopeless AS (
    SELECT a.study_id, a.arm_id
    FROM whole_arms a JOIN whole_trials t USING (study_id, arm_id)
    WHERE tuning AND ended AND a.mode <> 'joint'
    GROUP BY a.study_id, a.arm_id, a.planned_default + a.planned_random + a.planned_search
    HAVING count(*) >= a.planned_default + a.planned_random + a.planned_search
       AND count(*) FILTER (t.status = 'completed') = 0),
listed AS (
    SELECT * FROM board
    UNION ALL BY NAME
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer,
           metric, unit, sign, 0 AS n, trivial_test_score AS trivial,
           CAST(baselines_json ->> '$.test.bicubic' AS DOUBLE) AS bicubic,
           CAST(baselines_json ->> '$.test.nearest' AS DOUBLE) AS nearest
    FROM hopeless JOIN whole_arms USING (study_id, arm_id))
SELECT study_id, mode, workload, method, weight_bits, activation_bits,
       CASE WHEN mode <> 'joint' AND n > 0 THEN
           rank() OVER (PARTITION BY study_id, workload, method, weight_bits, activation_bits
                        ORDER BY sign * mean DESC NULLS LAST) END AS place,
       optimizer, mean,
       if(unit IN ('fraction', 'percent') AND mean - t * standard_error < 0, 0, mean - t * standard_error) AS ci_low,
       CASE WHEN unit = 'fraction' AND mean + t * standard_error > 1 THEN 1
            WHEN unit = 'percent' AND mean + t * standard_error > 100 THEN 100
            ELSE mean + t * standard_error END AS ci_high, n, diverged, collapsed,
       learning_rate, batch_size, metric, unit, trivial, bicubic, nearest
FROM listed LEFT JOIN student_t ON df = least(n - 1, 1000)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, place NULLS LAST, optimizer
