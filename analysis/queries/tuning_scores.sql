-- What did each trial of the tuning give: learning rate, batch size and the final validation metric?
-- One row for each ended default, random and search trial.
-- `score` is the final validation metric; the trivial score where a trial diverged, ran out of memory, failed or
-- collapsed (no better than the constant predictor); NULL where it was stopped early: its last value, `stopped_metric`,
-- is an early one and says nothing beside a last one.
-- `epochs` are planned, `epochs_run` and `steps_run` done. `default_learning_rate` is that of the arm's default trial.
-- `design` is that of the random stage, whose points follow from `sampler_seed`; NULL is random.
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, learning_rate, batch_size,
       stage, arm_id, trial_key, epochs, steps_run, metric, unit, sign, margin, trivial_score AS trivial, params_json,
       repeat, trial_number, sampler_seed, if(source = 'sobol', 'sobol', design) AS design, init, base_optimizer,
       max(learning_rate) FILTER (stage = 'default') OVER (PARTITION BY study_id, arm_id, optimizer)
           AS default_learning_rate,
       epochs_run, status, CASE WHEN status = 'stopped' THEN val_metric END AS stopped_metric, validation_score AS score
FROM whole_trials
WHERE tuning AND ended
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, arm_id, stage, trial_number,
         trial_key
