-- All trials, the completed ones first.
SELECT trial_key, stage, optimizer, weight_bits, activation_bits, seed, val_metric, status, params_json
FROM trials ORDER BY status = 'completed' DESC, study_id
