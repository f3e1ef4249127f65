-- Is this one experiment: which versions of code and libraries and which devices do the trials come from?
-- Of ended trials that count in the answers, and of the shared starts that they began from, without those that worsen
-- a start: they train nothing and have no backend. A study with one row was made by one environment; `environments` is
-- their number.
WITH counted AS (
    FROM whole_trials WHERE ended
    UNION ALL BY NAME
    SELECT t.* REPLACE (a.study_id AS study_id)
    FROM trials t JOIN (SELECT DISTINCT study_id, file_id, init_checkpoint_sha256 FROM whole_arms) a
         ON t.study_id = a.file_id AND t.checkpoint_sha256 = a.init_checkpoint_sha256
    WHERE t.stage = 'pretrain' AND t.params_json ->> '$.worsening' IS NULL)
SELECT *, count(*) OVER (PARTITION BY study_id) AS environments
FROM (
    SELECT study_id, tune_qat_version, git_commit, torch_version, ray_version, optuna_version, python_version,
           cuda_version, device, backend, precision, threads, count(*) AS n, count(DISTINCT host_hash) AS hosts,
           min(started_at) AS first_started, max(finished_at) AS last_finished
    FROM counted
    GROUP BY ALL)
ORDER BY study_id, n DESC, first_started
