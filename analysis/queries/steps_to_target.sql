-- How many optimizer steps does each batch size need to reach a good result: does a larger batch save steps?
-- `target`: the final validation metric of default trials, median over the optimizers of the board, a failed one as the
-- trivial score. Without the stage default there is no answer.
-- Over default, random and search trials, stopped ones too: `steps` is the fewest of any trial of the batch size until
-- the end of the first epoch at or beyond the target, over all other hyperparameters; NULL where none of n reached it.
-- Halved steps at twice the batch size: perfect scaling; the same steps: a larger batch brings nothing more.
WITH defaults AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, sign,
           avg(sign * validation_score) AS objective
    FROM whole_trials
    WHERE stage = 'default' AND ended AND status <> 'stopped' AND mode <> 'joint'
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, sign),
targets AS (
    SELECT study_id, workload, method, weight_bits, activation_bits, median(objective) AS target
    FROM defaults
    GROUP BY study_id, workload, method, weight_bits, activation_bits),
reached AS (
    SELECT t.study_id, t.trial_key, min(e.step) AS steps
    FROM whole_trials t JOIN targets USING (study_id, workload, method, weight_bits, activation_bits)
         JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key
    WHERE t.tuning AND t.ended AND t.mode <> 'joint' AND t.sign * e.val_metric >= target
    GROUP BY t.study_id, t.trial_key)
SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.batch_size,
       count(*) AS n, count(steps) AS reached, min(steps) AS steps, t.sign * any_value(target) AS target, t.metric,
       t.unit
FROM whole_trials t JOIN targets USING (study_id, workload, method, weight_bits, activation_bits)
     LEFT JOIN reached USING (study_id, trial_key)
WHERE t.tuning AND t.ended AND t.mode <> 'joint'
GROUP BY t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.batch_size, t.sign,
         t.metric, t.unit
ORDER BY t.study_id, t.workload, t.weight_bits DESC, t.activation_bits DESC, t.method, t.optimizer, t.batch_size
