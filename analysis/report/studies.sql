-- How far each study file is, and what it was run with.
SELECT s.study_id, s.mode, s.complete, s.started_at, s.finished_at, s.wall_s, s.seed, s.schema_version, s.prereg_hash,
       s.file_hash, s.versions_json,
       s.tune_qat_version, s.git_commit, s.command, s.definition_json, s.origin,
       CASE WHEN json_valid(s.definition_json) THEN s.definition_json ->> '$.note' END AS note,
       (SELECT count(*) FROM arm_trials t WHERE t.study_id = s.study_id AND t.ended) AS ended,
       (SELECT count(*) FROM trials t ANTI JOIN arm_trials a USING (study_id, trial_key)
        WHERE t.study_id = s.study_id AND t.stage NOT IN ('pretrain', 'calibrated')
          AND t.status IN ('completed', 'stopped', 'diverged', 'oom', 'error')) AS replaced,
       (SELECT count(*) FROM arm_trials t WHERE t.study_id = s.study_id AND t.status = 'running') AS running,
       (SELECT sum(planned_default + planned_random + planned_search + coalesce(planned_finalists, 0) + planned_retrain)
        FROM arms a WHERE a.study_id = s.study_id) AS planned
FROM studies s ORDER BY s.study_id
