-- Completed trials of the tuning whose models may be kept, of each study the best one first: of quantized models before
-- the floating-point control, by the final validation metric. `among` counts the trials that it is the best of.
WITH ended AS (
    SELECT *, count(*) FILTER (tuning AND ended) OVER (PARTITION BY study_id, method, weight_bits, activation_bits) AS among
    FROM arm_trials
    WHERE stage NOT IN ('pretrain', 'retrain', 'calibrated') AND control IS NULL)
SELECT study_id, trial_key, arm_id, method, weight_bits, activation_bits, optimizer, val_metric, among
FROM ended
WHERE status = 'completed' AND val_metric IS NOT NULL AND checkpoint_sha256 IS NOT NULL
ORDER BY study_id, weight_bits = 32 AND activation_bits = 32, sign * val_metric DESC, trial_key DESC
