-- Which trained model is best on validation data, per study, method and bits: the retrain trial that `export` takes?
-- First the configuration, by the mean of the final validation metric over its retrain seeds, in which a trial that
-- diverged, ran out of memory, failed or collapsed counts as the trivial score; then the best completed trial of that
-- configuration. Test data has no say. Quantized models stand before the floating-point control: the first row of a
-- study is the one that is exported where none is named.
WITH scored AS (
    SELECT *, status <> 'completed' OR val_metric IS NULL AS failed, validation_score AS score
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped' AND control IS NULL),
configurations AS (
    SELECT study_id, method, weight_bits, activation_bits, config_id, avg(score) AS mean_val, count(*) AS n
    FROM scored
    GROUP BY ALL)
SELECT study_id, workload, method, weight_bits, activation_bits, optimizer, learning_rate, batch_size, seed, trial_key,
       val_metric, mean_val, n, metric, unit
FROM scored JOIN configurations USING (study_id, method, weight_bits, activation_bits, config_id)
WHERE NOT failed
QUALIFY row_number() OVER (PARTITION BY study_id, method, weight_bits, activation_bits
                           ORDER BY sign * mean_val DESC, config_id, sign * val_metric DESC, trial_key) = 1
ORDER BY study_id, weight_bits = 32 AND activation_bits = 32, sign * mean_val DESC, trial_key
