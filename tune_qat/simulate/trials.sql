-- A study's trials, and on how many processors each ran.
SELECT trial_key, arm_id, stage, trial_number, source, status, params_json, started_at, finished_at,
       CASE WHEN cuda_version IS NULL THEN coalesce(threads, 1) ELSE 1 END AS processors
FROM trials WHERE study_id = ? AND stage <> 'calibrated' ORDER BY trial_key
