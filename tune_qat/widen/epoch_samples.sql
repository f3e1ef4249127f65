-- Samples of an epoch, by study: those of the training split, and those that a trial has counted.
SELECT study_id, n_train AS n FROM arms UNION ALL
SELECT study_id, max(examples_seen // nullif(epochs_run, 0)) FROM arm_trials GROUP BY study_id
