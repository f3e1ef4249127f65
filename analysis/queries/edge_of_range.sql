-- Was the search space wide enough: is an arm's best learning rate or batch size at an edge of its range?
-- Best: the best final validation metric among completed default, random and search trials, for each optimizer of the
-- arm. At an edge: a learning rate less than half a decade from it, or the edge power of two itself. `wide_low` and
-- `wide_high` are a range with room beyond this best: such an edge (or the best, where a default lies outside) moved by
-- one decade, or one power of two. No edges: a batch size of 1, and one that twice would be more than the training split
-- has; low = high is not searched.
WITH best AS (
    SELECT *
    FROM arm_trials
    WHERE tuning AND status = 'completed' AND val_metric IS NOT NULL
    -- The key breaks ties, so that the answer does not depend on the order of files.
    QUALIFY row_number() OVER (PARTITION BY study_id, arm_id, optimizer
                               ORDER BY sign * val_metric DESC, trial_key DESC) = 1),
-- An epoch has more samples than there are images where patches are cut from them; a trial shows how many.
seen AS (
    SELECT study_id, max(examples_seen // nullif(epochs_run, 0)) AS samples
    FROM arm_trials
    GROUP BY study_id),
ranged AS (
    SELECT *, CASE dimension WHEN 'learning_rate' THEN learning_rate ELSE batch_size END AS best,
           CAST(space_json -> optimizer -> dimension ->> 'low' AS DOUBLE) AS low,
           CAST(space_json -> optimizer -> dimension ->> 'high' AS DOUBLE) AS high
    FROM best CROSS JOIN (VALUES ('learning_rate', sqrt(10), 10), ('batch_size', 2, 2)) AS d(dimension, near, step)),
judged AS (
    SELECT *, best < low * near AND NOT (dimension = 'batch_size' AND low <= 1) AS at_low,
           best > high / near
           AND NOT (dimension = 'batch_size' AND coalesce(2 * high > greatest(n_train, samples), false)) AS at_high
    FROM ranged JOIN seen USING (study_id)
    WHERE low < high)
SELECT study_id, mode, arm_id, workload, method, weight_bits, activation_bits, optimizer, dimension, best, low, high,
       CASE WHEN at_low AND at_high THEN 'both' WHEN at_low THEN 'low' WHEN at_high THEN 'high' ELSE 'none' END AS edge,
       CASE WHEN at_low THEN least(low, best) / step ELSE low END AS wide_low,
       CASE WHEN at_high THEN greatest(high, best) * step ELSE high END AS wide_high
FROM judged
ORDER BY study_id, edge = 'none', weight_bits DESC, activation_bits DESC, method, arm_id, optimizer, dimension DESC
