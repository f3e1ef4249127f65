-- Where did trials start, which optimizer pretrained it, and what is each study judged by?
-- `init` is pretrain (one floating-point model that all arms share), scratch (a seed varies the initial weights, too) or
-- path (a checkpoint from elsewhere, whose training is not in the record). `pretrained_by` and what follows it is NULL
-- but for pretrain; `pretrain_val_metric` is NULL until that model is trained. `alpha`, `margin` and
-- `reference` (the optimizer that all others are compared with; NULL: every two are compared) were fixed in the study
-- file before it ran. `whole` is the study that its repeats belong to; `varies_json`
-- what they vary, NULL in studies without [repeat], whose repeats vary the search and its seeds; `subset_overlap` the
-- largest share of a training subset that another repeat has too.
WITH begun AS (
    SELECT study_id, any_value(mode) AS mode, any_value(init) AS init,
           any_value(workload) AS workload, any_value(metric) AS metric, any_value(unit) AS unit,
           any_value(sign) AS sign, any_value(margin) AS margin, max(planned_retrain) AS planned_retrain,
           count(DISTINCT repeat) AS repeats, any_value(whole) AS whole,
           any_value(varies_json) AS varies_json, max(subset_overlap) AS subset_overlap,
           string_agg(DISTINCT start_name, ', ' ORDER BY start_name) AS starts
    FROM arms GROUP BY study_id),
pretrained AS (
    SELECT study_id, arg_max(val_metric, finished_at) AS pretrain_val_metric
    FROM trials
    -- Starts of worsened controls are made of this one.
    WHERE stage = 'pretrain' AND status = 'completed' AND params_json ->> '$.worsening' IS NULL GROUP BY study_id)
SELECT b.study_id, b.mode, b.workload, s.complete, b.init, s.definition_json ->> '$.training.init_path' AS init_path,
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
FROM begun b LEFT JOIN studies s USING (study_id) LEFT JOIN pretrained p USING (study_id)
ORDER BY b.study_id
