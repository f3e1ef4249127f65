-- Was the tuning budget equal: planned and ended trials, epochs, device seconds and ASHA stops of each arm?
-- `equal`: every arm of the study has the same planned trials in every stage and the same maximum epochs.
-- What the study really spent is shown beside it, `epochs` and `device_s`, without the trials that it took over from
-- another study of the folder: those are in `taken_over`, `epochs_taken_over` and `device_s_taken_over`, and were spent
-- once, by that study. `device_s_ratio` is of both, over the mean of the method's arms of the same bits.
-- More ended than planned: an earlier version of the study file planned more, and they fit today's.
WITH spent AS (
    SELECT study_id, arm_id,
           count(*) FILTER (ended AND stage = 'default') AS ended_default,
           count(*) FILTER (ended AND stage = 'random') AS ended_random,
           count(*) FILTER (ended AND stage = 'search') AS ended_search,
           count(*) FILTER (ended AND stage = 'finalists') AS ended_finalists,
           count(*) FILTER (ended AND stage = 'retrain') AS ended_retrain,
           count(*) FILTER (status = 'stopped' AND stop_reason = 'asha') AS stopped_by_asha,
           count(*) FILTER (ended AND taken_from IS NOT NULL) AS taken_over,
           CAST(sum(epochs_run) FILTER (taken_from IS NULL) AS BIGINT) AS epochs,
           sum(device_s) FILTER (taken_from IS NULL) AS device_s,
           CAST(sum(epochs_run) FILTER (taken_from IS NOT NULL) AS BIGINT) AS epochs_taken_over,
           sum(device_s) FILTER (taken_from IS NOT NULL) AS device_s_taken_over
    FROM whole_trials GROUP BY study_id, arm_id),
fair AS (
    SELECT study_id,
           count(DISTINCT (planned_default, planned_random, planned_search, coalesce(planned_finalists, 0),
                           planned_retrain, max_epochs)) = 1 AS equal
    FROM whole_arms GROUP BY study_id),
per_arm AS (
    SELECT a.study_id, a.mode, a.arm_id, a.workload, a.method,
           a.weight_bits, a.activation_bits, a.optimizer,
           a.planned_default, coalesce(s.ended_default, 0) AS ended_default,
           a.planned_random, coalesce(s.ended_random, 0) AS ended_random,
           a.planned_search, coalesce(s.ended_search, 0) AS ended_search,
           coalesce(a.planned_finalists, 0) AS planned_finalists, coalesce(s.ended_finalists, 0) AS ended_finalists,
           a.planned_retrain, coalesce(s.ended_retrain, 0) AS ended_retrain,
           a.max_epochs, coalesce(s.stopped_by_asha, 0) AS stopped_by_asha, coalesce(s.epochs, 0) AS epochs,
           coalesce(s.device_s, 0) AS device_s, coalesce(s.taken_over, 0) AS taken_over,
           coalesce(s.epochs_taken_over, 0) AS epochs_taken_over,
           coalesce(s.device_s_taken_over, 0) AS device_s_taken_over, f.equal
    FROM whole_arms a JOIN fair f USING (study_id) LEFT JOIN spent s USING (study_id, arm_id))
SELECT *, (device_s + device_s_taken_over) / nullif(avg(device_s + device_s_taken_over) OVER per_bits, 0)
              AS device_s_ratio
FROM per_arm
WINDOW per_bits AS (PARTITION BY study_id, workload, method, weight_bits, activation_bits)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, arm_id
