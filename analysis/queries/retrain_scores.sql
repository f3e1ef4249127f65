-- How did each trial of the chosen configurations end: the score of every retrain seed, on test data?
-- One row for each ended retrain trial of the configuration that its arm chose on validation data.
-- `score` is the test metric, `val_score` the final validation metric; for a trial that diverged, ran out of memory,
-- failed or collapsed both are the trivial score of their split, and `failed` says so. `collapsed`: it was completed, and
-- is no better than the constant predictor on validation data. `trivial` is that of the test split.
-- `copied`: taken over from another study of these results, whose row is here as well; the two are one run.
-- `whole` is the study that the repeats belong to, NULL in older records; `init`, `start_name` and `control` say what the
-- arm started from and whether it is a control; `calibrated` is the validation metric before the first step.
-- An arm that completed no trial had nothing to choose and has no row here; `leaderboard` names it.
WITH ended AS (
    SELECT *, status <> 'completed' OR test_metric IS NULL OR collapsed AS failed
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped')
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, learning_rate, batch_size, repeat,
       seed, trial_key, config_id, failed, collapsed, metric, unit, sign, margin, trivial_test_score AS trivial, n_test,
       copied, whole, init, start_name, control, control_for, calibrated_metric AS calibrated,
       CASE WHEN failed THEN trivial_score ELSE coalesce(val_metric, trivial_score) END AS val_score,
       test_score AS score
FROM ended
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, repeat, seed, trial_key
