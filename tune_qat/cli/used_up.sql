-- Arms of a study whose search space has fewer points than a stage asks trials of, and how many have been used.
WITH asked AS (
    SELECT study_id, unnest(['random', 'search']) AS stage,
           unnest([CAST(definition_json ->> '$.stages.random' AS INTEGER),
                   CAST(definition_json ->> '$.stages.search' AS INTEGER)]) AS trials
    FROM studies WHERE study_id = ?),
used AS (
    SELECT a.arm_id, s.stage, a.space_points, count(t.trial_key) FILTER (t.ended) AS used
    FROM arms a JOIN asked s ON s.study_id = a.study_id AND s.trials > a.space_points
    LEFT JOIN arm_trials t ON t.study_id = a.study_id AND t.arm_id = a.arm_id AND t.stage = s.stage
    GROUP BY ALL)
SELECT arm_id, any_value(space_points) AS points, min(used) AS used FROM used GROUP BY arm_id ORDER BY arm_id
