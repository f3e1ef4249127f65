-- How did each trial of the chosen configurations end: the score of every retrain seed, on test data?
-- One row for each ended retrain trial of the configuration that its arm chose on validation data.
-- `score` is the test metric, `val_score` the final validation metric; for a trial that diverged, ran out of memory or
-- failed both are the trivial score of their split, and `failed` says so. `trivial` is that of the test split.
-- `copied`: taken over from another study of these results, whose row is here as well; the two are one run.
-- An arm that completed no trial had nothing to choose and has no row here; `leaderboard` names it.
WITH ended AS (
    SELECT *, status <> 'completed' OR test_metric IS NULL AS failed
    FROM arm_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped')
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, repeat, seed, trial_key, config_id,
       CASE WHEN failed THEN trivial_test_score ELSE test_metric END AS score, failed,
       CASE WHEN failed THEN trivial_score ELSE coalesce(val_metric, trivial_score) END AS val_score,
       metric, unit, sign, margin, trivial_test_score AS trivial, n_test, learning_rate, batch_size, copied
FROM ended
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, repeat, seed, trial_key
