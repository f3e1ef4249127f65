-- What there is of each workload of each study.
WITH counted AS (
    SELECT study_id, workload,
           count(*) FILTER (tuning AND ended) AS tuning_trials,
           count(*) FILTER (stage = 'random' AND ended) AS random_trials,
           count(*) FILTER (tuning AND status = 'completed') AS completed_trials,
           count(*) FILTER (tuning AND status = 'diverged') AS diverged_trials,
           count(*) FILTER (stage = 'retrain' AND ended AND status <> 'stopped') AS retrain_trials,
           count(DISTINCT CASE WHEN stage = 'retrain' AND ended AND status <> 'stopped' THEN seed END) AS seeds
    FROM whole_trials GROUP BY ALL),
evaluated AS (
    SELECT f.study_id, t.workload, count(*) AS calibrated_models
    FROM trials t JOIN (SELECT DISTINCT study_id, file_id FROM whole_arms) f ON f.file_id = t.study_id
    WHERE t.stage = 'calibrated' AND t.status = 'completed'
    GROUP BY ALL)
SELECT a.study_id, a.mode, a.workload, any_value(a.metric) AS metric, any_value(a.unit) AS unit,
       any_value(a.sign) AS sign, any_value(a.dataset) AS dataset, count(*) AS arms,
       count(DISTINCT a.base_optimizer) AS optimizers,
       coalesce(bool_or(a.weight_bits = 32 AND a.activation_bits = 32), false) AS control,
       bool_or(a.weight_bits < 32 OR a.activation_bits < 32 OR a.weight_bits IS NULL) AS quantized,
       coalesce(any_value(c.tuning_trials), 0) AS tuning_trials,
       coalesce(any_value(c.random_trials), 0) AS random_trials,
       coalesce(any_value(c.completed_trials), 0) AS completed_trials,
       coalesce(any_value(c.diverged_trials), 0) AS diverged_trials,
       coalesce(any_value(c.retrain_trials), 0) AS retrain_trials, coalesce(any_value(c.seeds), 0) AS seeds,
       coalesce(any_value(e.calibrated_models), 0) AS calibrated_models,
       coalesce(bool_or(a.file_id IN (SELECT study_id FROM costs)), false) AS costs
FROM whole_arms a LEFT JOIN counted c USING (study_id, workload) LEFT JOIN evaluated e USING (study_id, workload)
GROUP BY a.study_id, a.mode, a.workload ORDER BY ALL
