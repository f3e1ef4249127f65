-- What does calibration alone give, what does that cost, and what does training win back?
-- On test data, of the chosen configurations: `start` is the floating-point model that trials begin from, `calibrated`
-- that model quantized and calibrated but not trained (post-training quantization), with the batch of the same seed and
-- size as the trained one, `trained` the mean over retrain trials. `cost` is what `start` loses by calibration alone, `won`
-- what training wins over `calibrated`, both in the metric's unit and above 0 where the first is better; `recovered` is
-- won / cost, NULL where calibration costs no more than the margin. At 32/32 nothing is calibrated, and `won` is over the
-- start. `start` is NULL in a study without 32/32.
-- Pairs of the same repeat and seed; where a board has several repeats, a repeat is one pair, the mean over its seeds, and
-- n counts these. A trial that diverged, ran out of memory, failed or collapsed counts as the trivial score; a calibrated
-- model has the score that it has, and the trivial one only without a finite metric. Intervals: Student's t, NULL below 2,
-- and where some trials failed or collapsed and others did not. Of studies with `stages.calibrated` alone.
WITH evaluated AS (
    SELECT study_id AS file_id, status, test_metric, init_checkpoint_sha256, data_fingerprint, split_fingerprint, seed,
           batch_size, weight_bits = 32 AND activation_bits = 32 AS is_float,
           CAST(params_json -> '$.scheme' AS VARCHAR) AS scheme,
           coalesce(CAST(params_json ->> '$.calibration_batches' AS INTEGER), 1) AS batches
    FROM trials
    WHERE stage = 'calibrated' AND status IN ('completed', 'diverged')),
retrained AS (
    SELECT *, CAST(params_json -> '$.scheme' AS VARCHAR) AS scheme,
           coalesce(CAST(params_json ->> '$.calibration_batches' AS INTEGER), 1) AS batches
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped' AND control IS NULL),
paired AS (
    SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.metric, t.unit,
           t.sign, t.margin, t.test_score AS trained,
           t.status <> 'completed' OR t.test_metric IS NULL OR t.collapsed AS failed,
           coalesce(f.test_metric, CASE WHEN f.status = 'diverged' THEN t.trivial_test_score END) AS start,
           CASE WHEN t.weight_bits = 32 AND t.activation_bits = 32 THEN start
                ELSE coalesce(c.test_metric, CASE WHEN c.status = 'diverged' THEN t.trivial_test_score END) END
               AS calibrated,
           CASE WHEN min(t.repeat) OVER board < max(t.repeat) OVER board THEN CAST(t.repeat AS VARCHAR)
                ELSE t.trial_key END AS replicate
    FROM retrained t
    LEFT JOIN evaluated f
         ON f.is_float AND f.file_id = t.file_id AND f.data_fingerprint = t.data_fingerprint
            AND f.split_fingerprint = t.split_fingerprint AND f.init_checkpoint_sha256 = t.init_checkpoint_sha256
    LEFT JOIN evaluated c
         ON NOT c.is_float AND c.file_id = t.file_id AND c.data_fingerprint = t.data_fingerprint
            AND c.split_fingerprint = t.split_fingerprint AND c.init_checkpoint_sha256 = t.init_checkpoint_sha256
            AND c.seed = t.seed AND c.batch_size = t.batch_size AND c.scheme = t.scheme AND c.batches = t.batches
    WINDOW board AS (PARTITION BY t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits)),
replicates AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign,
           any_value(margin) AS margin, avg(start) AS start, avg(calibrated) AS calibrated, avg(trained) AS trained,
           avg(sign * (start - calibrated)) AS cost, avg(sign * (trained - calibrated)) AS won,
           count(*) FILTER (failed) AS failed, count(*) AS trials
    FROM paired
    WHERE calibrated IS NOT NULL
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, replicate),
board AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit,
           any_value(margin) AS margin, count(*) AS n, avg(start) AS start, avg(calibrated) AS calibrated,
           avg(trained) AS trained, avg(cost) AS cost, avg(won) AS won, CAST(sum(failed) AS BIGINT) AS failed,
           CASE WHEN sum(failed) IN (0, sum(trials)) THEN stddev_samp(won) / sqrt(count(*)) END AS standard_error
    FROM replicates
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, failed, start, calibrated, trained,
       cost, won, won - t * standard_error AS won_ci_low, won + t * standard_error AS won_ci_high,
       CASE WHEN cost > coalesce(margin, 0) THEN won / cost END AS recovered, margin, metric, unit
FROM board LEFT JOIN student_t ON df = least(n - 1, 1000)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer
