-- All trials, the completed ones first, and of several studies first the one that ran the trial.
SELECT study_id, trial_key, stage, optimizer, weight_bits, activation_bits, seed, val_metric, status, params_json,
       epochs_run, checkpoint_sha256, quantizer_optimizer, arm_id, sources_json
FROM trials ORDER BY status = 'completed' DESC, taken_from IS NOT NULL, study_id
