-- How many trials of a study have ended that no answer counts: of an earlier version, or of a replaced configuration?
SELECT count(*)
FROM trials t ANTI JOIN arm_trials a USING (study_id, trial_key)
WHERE t.study_id = ? AND t.stage NOT IN ('pretrain', 'calibrated') AND t.status IN ('completed', 'stopped', 'diverged', 'oom', 'error')
