-- Trials of each arm of a study by how they stand, and its best validation metric so far. No trial runs of a study that no
-- process runs ($driven): a driver that was lost has left their rows as they were.
WITH planned AS (
    SELECT study_id, arm_id, sign,
           unnest(['default', 'random', 'search', 'finalists', 'retrain']) AS stage,
           unnest([planned_default, planned_random, planned_search, coalesce(planned_finalists, 0), planned_retrain])
               AS planned
    FROM arms WHERE study_id = $study),
counted AS (
    SELECT p.arm_id, p.stage, p.planned, p.sign,
           count(*) FILTER (t.ended) AS done,
           count(*) FILTER (t.status = 'running' AND $driven) AS running,
           count(*) FILTER (t.status = 'interrupted' OR (t.status = 'running' AND NOT $driven)) AS interrupted,
           count(*) FILTER (t.status = 'stopped') AS stopped_early,
           count(*) FILTER (t.status = 'diverged') AS diverged,
           count(*) FILTER (t.status IN ('error', 'oom')) AS failed,
           count(*) FILTER (t.ended AND t.taken_from IS NOT NULL) AS taken_over,
           max(t.val_metric * p.sign) FILTER (t.status = 'completed' AND t.tuning) AS best
    FROM planned p LEFT JOIN arm_trials t ON t.study_id = p.study_id AND t.arm_id = p.arm_id AND t.stage = p.stage
    GROUP BY ALL)
-- Of a complete study nothing is left, also where an arm has no completed trial to train again.
SELECT arm_id, sum(done)::INT AS done, sum(running)::INT AS running, sum(interrupted)::INT AS interrupted,
       sum(CASE WHEN (SELECT complete FROM studies WHERE study_id = $study) THEN 0
                ELSE greatest(0, planned - done - running) END)::INT AS "left",
       sum(stopped_early)::INT AS stopped_early, sum(diverged)::INT AS diverged, sum(failed)::INT AS failed,
       sum(taken_over)::INT AS taken_over, max(best) * any_value(sign) AS best_val
FROM counted GROUP BY arm_id ORDER BY arm_id
