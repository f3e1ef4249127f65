-- What do the quantizers do while the chosen configurations learn: step size and oscillation by layer and epoch?
-- Means over the n completed retrain trials. `bits` are the layer's own; `step_size_ratio` is over the step at the
-- start. A frequency is in oscillations per step, of weights alone; `oscillating` is the share of weights above 0.005,
-- `frozen` that of frozen weights (NULL without freezing); `clipped` is the share of values beyond the range.
SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, l.layer, l.kind, l.epoch,
       l.layer_index, l.bits, count(*) AS n, avg(l.step_size) AS step_size,
       avg(l.step_size / nullif(l.step_size_init, 0)) AS step_size_ratio,
       avg(l.oscillation_frequency) AS frequency, avg(l.oscillating_fraction) AS oscillating,
       avg(l.frozen_fraction) AS frozen, avg(l.clip_fraction_low + l.clip_fraction_high) AS clipped,
       avg(l.quantization_mse) AS quantization_mse
FROM whole_trials t JOIN layers l ON l.study_id = t.file_id AND l.trial_key = t.trial_key
WHERE t.stage = 'retrain' AND t.status = 'completed'
GROUP BY ALL
ORDER BY t.study_id, t.workload, t.weight_bits DESC, t.activation_bits DESC, t.method, t.optimizer, l.layer_index,
         l.kind, l.epoch
