-- Trials whose last row says that they run, the first started first.
SELECT study_id, trial_key, stage, optimizer, weight_bits, activation_bits, epochs
FROM trials WHERE status = 'running' ORDER BY started_at, trial_key
