-- What each study is about, when and on what it ran, and how long: without trials that it took over.
WITH files AS (SELECT DISTINCT study_id, file_id FROM whole_arms),
spent AS (
    SELECT f.study_id, sum(t.device_s) FILTER (t.taken_from IS NULL) / 3600 AS device_hours,
           min(t.started_at) AS first_started, max(t.finished_at) AS last_finished,
           string_agg(DISTINCT t.device, ', ' ORDER BY t.device) AS devices,
           string_agg(DISTINCT t.precision, ', ' ORDER BY t.precision) AS precisions
    FROM files f JOIN trials t ON t.study_id = f.file_id
    GROUP BY f.study_id),
counted AS (
    SELECT study_id, workload, count(*) FILTER (ended) AS ended,
           count(DISTINCT seed) FILTER (stage = 'retrain' AND ended AND status <> 'stopped') AS seeds
    FROM whole_trials GROUP BY ALL),
finished AS (
    SELECT f.study_id, bool_and(coalesce(s.complete, true)) AS complete
    FROM files f LEFT JOIN studies s ON s.study_id = f.file_id GROUP BY ALL)
SELECT a.study_id, a.workload, any_value(a.task) AS task, any_value(a.model) AS model, any_value(a.dataset) AS dataset,
       count(DISTINCT a.base_optimizer) AS optimizers, max(a.max_epochs) AS epochs, max(a.n_train) AS n_train,
       any_value(s.device_hours) AS device_hours, any_value(s.first_started) AS first_started,
       any_value(s.last_finished) AS last_finished, any_value(s.devices) AS devices,
       any_value(s.precisions) AS precisions, coalesce(any_value(c.ended), 0) AS ended,
       coalesce(any_value(c.seeds), 0) AS seeds, any_value(f.complete) AS complete
FROM whole_arms a LEFT JOIN spent s USING (study_id) LEFT JOIN counted c USING (study_id, workload)
     LEFT JOIN finished f USING (study_id)
GROUP BY a.study_id, a.workload ORDER BY ALL
