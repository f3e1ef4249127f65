-- How many trials of each study file saw test data, and how many of these are of configurations that were replaced since?
-- `arms_again`: arms of which more than one configuration saw test data. A trial that was taken over counts where it ran.
WITH seen AS (
    SELECT t.study_id, t.arm_id, t.config_id, a.trial_key IS NOT NULL AS counts
    FROM trials t LEFT JOIN arm_trials a USING (study_id, trial_key)
    -- A model that was not trained has no configuration to choose by it.
    WHERE t.test_metric IS NOT NULL AND t.taken_from IS NULL AND t.stage <> 'calibrated'),
again AS (
    SELECT study_id, arm_id, count(DISTINCT config_id) > 1 AS again FROM seen GROUP BY ALL)
SELECT s.study_id, count(*) FILTER (counts) AS current, count(*) FILTER (NOT counts) AS replaced,
       (SELECT count(*) FILTER (again) FROM again a WHERE a.study_id = s.study_id) AS arms_again,
       (SELECT count(*) FROM arms a WHERE a.study_id = s.study_id) AS arms
FROM seen s
GROUP BY s.study_id
ORDER BY s.study_id
