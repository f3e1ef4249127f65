-- Which layers' weights oscillate: how often codes turn around at the end of training, by layer, bits and optimizer?
-- Means over completed trials, at their last epoch. `bits` are the layer's own. A frequency is in oscillations per step;
-- `oscillating` is the share of weights above 0.005, `frozen` that of frozen weights (NULL without freezing).
SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, l.layer_index,
       l.layer, l.bits, count(*) AS n, avg(l.oscillation_frequency) AS frequency,
       avg(l.oscillating_fraction) AS oscillating, avg(l.frozen_fraction) AS frozen
FROM whole_trials t JOIN layers l ON l.study_id = t.file_id AND l.trial_key = t.trial_key
WHERE t.status = 'completed' AND l.epoch = t.epochs_run AND l.kind = 'weight' AND l.oscillation_frequency IS NOT NULL
GROUP BY ALL
ORDER BY t.study_id, t.workload, t.weight_bits DESC, t.activation_bits DESC, t.method, t.optimizer, l.layer_index
