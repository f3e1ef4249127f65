-- What validation metric did each retrain trial begin with and end with?
-- `start`: that of the floating-point model which was trained for the start, NULL for other starts. `calibrated`: that of
-- the trial right after calibration, before its first step, NULL in older records.
WITH starts AS (
    SELECT study_id, checkpoint_sha256, max(val_metric) AS start
    FROM trials
    WHERE stage = 'pretrain' AND status = 'completed' AND checkpoint_sha256 IS NOT NULL
    GROUP BY ALL)
SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.repeat, t.seed,
       t.whole, t.init, t.control, t.copied, s.start, t.calibrated_metric AS calibrated, t.validation_score AS final,
       t.metric, t.unit, t.sign, t.margin
FROM whole_trials t LEFT JOIN starts s
     ON s.study_id = t.file_id AND s.checkpoint_sha256 = t.init_checkpoint_sha256
WHERE t.stage = 'retrain' AND t.ended AND t.status <> 'stopped' AND t.mode <> 'joint'
ORDER BY t.study_id, t.workload, t.weight_bits DESC, t.activation_bits DESC, t.method, t.optimizer, t.repeat, t.seed
