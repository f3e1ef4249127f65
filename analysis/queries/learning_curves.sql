-- How do the chosen configurations learn: the validation metric after each epoch, for every retrain seed?
-- One row for each ended retrain trial and planned epoch. `score` is the validation metric; the trivial score from the
-- epoch on in which a trial diverged, ran out of memory or failed, so that a mean over seeds is one over all of them.
-- Epochs that were not reached have no step, examples, seconds or losses.
WITH planned AS (
    SELECT *, unnest(range(1, epochs + 1)) AS epoch
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped')
SELECT p.study_id, p.mode, p.workload, p.method, p.weight_bits, p.activation_bits, p.optimizer, p.repeat, p.seed,
       p.trial_key, p.epoch, e.step, e.examples, e.wall_s, e.device_s, e.train_loss, e.train_metric, e.val_loss,
       coalesce(e.val_metric, p.trivial_score) AS score, e.val_metric, p.metric, p.unit, p.sign, p.trivial_score AS trivial
FROM planned p LEFT JOIN epochs e ON e.study_id = p.file_id AND e.trial_key = p.trial_key AND e.epoch = p.epoch
ORDER BY p.study_id, p.workload, p.weight_bits DESC, p.activation_bits DESC, p.method, p.optimizer, p.repeat, p.seed,
         p.trial_key, p.epoch
