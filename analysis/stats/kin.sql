-- Which optimizers of a board were one method: what share of steps did the chosen configurations clip?
-- `clipped` is the largest share of any epoch of any retrain run, NULL where nothing clips.
SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer,
       max(e.clip_fraction) AS clipped
FROM whole_trials t JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key
WHERE t.stage = 'retrain' AND t.ended AND t.status <> 'stopped' AND t.mode <> 'joint'
GROUP BY ALL
ORDER BY ALL
