-- Where did trials start, which optimizer pretrained it, and what is each study judged by?
-- `init` is pretrain (one floating-point model that all arms share), scratch (a seed varies the initial weights, too) or
-- path or weights (from elsewhere, whose training is not in the record); `weights` are those that the study gives, from
-- which a pretrained model began, too. `pretrained_by` and what follows it is NULL
-- but for pretrain; `pretrain_val_metric` is NULL until that model is trained. `alpha`, `margin` and
-- `reference` (the optimizer that all others are compared with; NULL: every two are compared) were fixed in the study
-- file before it ran. `whole` is the study that its repeats belong to; `varies_json`
-- what they vary, NULL in studies without [repeat], whose repeats vary the search and its seeds; `subset_overlap` the
-- largest share of a training subset that another repeat has too. Of a study in several files, what they share is that of
-- the first one by name, and it is complete when all are.
WITH begun AS (
    SELECT study_id, any_value(mode) AS mode, any_value(init) AS init,
           any_value(workload) AS workload, any_value(metric) AS metric, any_value(unit) AS unit,
           any_value(sign) AS sign, any_value(margin) AS margin, max(planned_retrain) AS planned_retrain,
           count(DISTINCT repeat) AS repeats, any_value(whole) AS whole, min(file_id) AS file_id,
           any_value(varies_json) AS varies_json, max(subset_overlap) AS subset_overlap,
           string_agg(DISTINCT start_name, ', ' ORDER BY start_name) AS starts
    FROM whole_arms GROUP BY study_id),
files AS (
    SELECT DISTINCT study_id, file_id FROM whole_arms),
finished AS (
    SELECT f.study_id, bool_and(s.complete) AS complete
    FROM files f JOIN studies s ON s.study_id = f.file_id GROUP BY ALL),
pretrained AS (
    SELECT f.study_id, arg_max(t.val_metric, t.finished_at) AS pretrain_val_metric
    FROM trials t JOIN files f ON f.file_id = t.study_id
    -- Starts of worsened controls are made of this one.
    WHERE t.stage = 'pretrain' AND t.status = 'completed' AND t.params_json ->> '$.worsening' IS NULL
    GROUP BY f.study_id)
SELECT b.study_id, b.mode, b.workload, c.complete, b.init, s.definition_json ->> '$.training.init_path' AS init_path,
       s.definition_json ->> '$.training.weights' AS weights,
       CASE WHEN b.init = 'pretrain' THEN coalesce(b.starts, s.definition_json ->> '$.pretrain.optimizer') END
           AS pretrained_by,
       CASE WHEN b.init = 'pretrain' THEN CAST(s.definition_json ->> '$.pretrain.epochs' AS INTEGER) END
           AS pretrain_epochs,
       CASE WHEN b.init = 'pretrain' AND b.starts IS NULL
            THEN CAST(s.definition_json ->> '$.pretrain.learning_rate' AS DOUBLE) END
           AS pretrain_learning_rate,
       p.pretrain_val_metric, b.metric, b.unit, b.sign, b.margin,
       CAST(s.definition_json ->> '$.judgement.alpha' AS DOUBLE) AS alpha,
       s.definition_json ->> '$.judgement.reference' AS reference, coalesce(b.whole, b.study_id) AS whole,
       b.planned_retrain, b.repeats, b.varies_json, b.starts, b.subset_overlap
FROM begun b LEFT JOIN studies s ON s.study_id = b.file_id LEFT JOIN finished c ON c.study_id = b.study_id
     LEFT JOIN pretrained p ON p.study_id = b.study_id
ORDER BY b.study_id
