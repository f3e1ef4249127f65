-- How far each study is: its trials, and in epochs what is planned, what is over (trials that ended, those that were stopped
-- early with all their epochs), and what the last run has trained itself.
WITH planned AS (
    SELECT study_id, unit, max_epochs,
           unnest([planned_default, planned_random, planned_search, coalesce(planned_finalists, 0), planned_retrain])
               AS trials
    FROM arms),
by_study AS (
    SELECT study_id, any_value(unit) AS unit, sum(trials)::INT AS trials, sum(trials * max_epochs)::INT AS epochs
    FROM planned GROUP BY study_id),
starts AS (
    SELECT study_id, sum(epochs)::INT AS epochs, coalesce(sum(epochs) FILTER (status = 'completed'), 0)::INT AS over
    FROM trials WHERE stage = 'pretrain' GROUP BY study_id),
ended AS (
    SELECT study_id, count(*) AS trials, sum(epochs)::INT AS epochs FROM arm_trials WHERE ended GROUP BY study_id),
trained AS (
    SELECT t.study_id, sum(t.epochs_run)::INT AS epochs
    FROM trials t JOIN studies s USING (study_id)
    WHERE t.finished_at >= s.started_at AND t.taken_from IS NULL GROUP BY t.study_id)
SELECT s.study_id, s.complete, s.origin IS NOT NULL AS imported, s.started_at, coalesce(b.unit, '') AS unit,
       coalesce(b.trials, 0) AS planned, coalesce(e.trials, 0) AS ended,
       coalesce(b.epochs, 0) + coalesce(p.epochs, 0) AS planned_epochs,
       coalesce(e.epochs, 0) + coalesce(p.over, 0) AS over_epochs, coalesce(t.epochs, 0) AS trained_epochs
FROM studies s LEFT JOIN by_study b USING (study_id) LEFT JOIN starts p USING (study_id)
LEFT JOIN ended e USING (study_id) LEFT JOIN trained t USING (study_id)
ORDER BY s.study_id
