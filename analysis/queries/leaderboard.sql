-- Which optimizer is best per workload and bit width: mean on test data over retrain seeds, with a 95 % interval?
-- Of the configuration that each arm chose on validation data. An arm without ended retrain trials is left out, unless
-- all its trials have ended and none was completed: it had nothing to choose, and stands last with n = 0.
-- A trial that diverged, ran out of memory or failed counts as the trivial score, never as nothing (`diverged`).
-- Interval: Student's t over the n trials, cut to what a fraction or percentage can be; NULL below 2. Repeats of an arm
-- are pooled; learning_rate and batch_size are NULL where they chose differently. In mode joint one search went over all
-- optimizers: its row is the best configuration found, no ranking of optimizers, and has no place.
WITH scored AS (
    SELECT *, status <> 'completed' OR test_metric IS NULL AS failed,
           CASE WHEN failed THEN trivial_test_score ELSE test_metric END AS score
    FROM arm_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped'),
board AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign,
           avg(score) AS mean, stddev_samp(score) / sqrt(count(*)) AS standard_error, count(*) AS n,
           count(*) FILTER (failed) AS diverged,
           CASE WHEN count(DISTINCT learning_rate) = 1 THEN any_value(learning_rate) END AS learning_rate,
           CASE WHEN count(DISTINCT batch_size) = 1 THEN any_value(batch_size) END AS batch_size,
           any_value(trivial_test_score) AS trivial,
           any_value(CAST(baselines_json ->> '$.test.bicubic' AS DOUBLE)) AS bicubic,
           any_value(CAST(baselines_json ->> '$.test.nearest' AS DOUBLE)) AS nearest
    FROM scored
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign),
hopeless AS (
    SELECT a.study_id, a.arm_id
    FROM arms a JOIN arm_trials t USING (study_id, arm_id)
    WHERE tuning AND ended AND a.mode <> 'joint'
    GROUP BY a.study_id, a.arm_id, a.planned_default + a.planned_random + a.planned_search
    HAVING count(*) >= a.planned_default + a.planned_random + a.planned_search
       AND count(*) FILTER (t.status = 'completed') = 0),
listed AS (
    SELECT * FROM board
    UNION ALL BY NAME
    SELECT study_id, mode, workload, coalesce(method, quantizer) AS method, weight_bits, activation_bits, optimizer,
           metric, unit, sign, 0 AS n, trivial_test_score AS trivial,
           CAST(baselines_json ->> '$.test.bicubic' AS DOUBLE) AS bicubic,
           CAST(baselines_json ->> '$.test.nearest' AS DOUBLE) AS nearest
    FROM hopeless JOIN arms USING (study_id, arm_id))
SELECT study_id, mode, workload, method, weight_bits, activation_bits,
       CASE WHEN mode <> 'joint' AND n > 0 THEN
           rank() OVER (PARTITION BY study_id, workload, method, weight_bits, activation_bits
                        ORDER BY sign * mean DESC NULLS LAST) END AS place,
       optimizer, mean,
       if(unit IN ('fraction', 'percent') AND mean - t * standard_error < 0, 0, mean - t * standard_error) AS ci_low,
       CASE WHEN unit = 'fraction' AND mean + t * standard_error > 1 THEN 1
            WHEN unit = 'percent' AND mean + t * standard_error > 100 THEN 100
            ELSE mean + t * standard_error END AS ci_high, n, diverged,
       learning_rate, batch_size, metric, unit, trivial, bicubic, nearest
FROM listed LEFT JOIN student_t ON df = least(n - 1, 1000)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, place NULLS LAST, optimizer
