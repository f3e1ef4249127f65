-- Was the search space wide enough: is an arm's best value of a searched dimension at an edge of its range?
-- Best: the best final validation metric among completed default, random and search trials, for each optimizer of the
-- arm; of an arm with finalists, the configuration that it chose by their means; with several objectives each point of
-- the front that it chose, by its bits, and of an optimizer without any its best. `edge`: the best is near an end of its
-- range. `untried`: no tuning trial has ended well beyond the best on this side, so that nothing is known there,
-- however wide the range. Near, and well beyond: half a decade for a learning rate, a power of two for a batch size,
-- otherwise an eighth of the axis but at most half a decade. An option whose range ends between a half and one is the
-- weight of a moving average: there its distance to one counts, by factors of two. `wide_low` and `wide_high` are a
-- range with room beyond this best: such an edge (or the best, where a default lies outside) moved by one decade, one
-- power of two, or twice what is near. No edges: a batch size of 1, and one that twice would be more than the training
-- split has; low = high is not searched. `failed_again`: at least half of the retrain trials of this best diverged or
-- learned nothing, which calls for no wider range on its side.
WITH named AS (SELECT * REPLACE (base_optimizer AS optimizer) FROM whole_trials),
best AS (
    SELECT *
    FROM named
    WHERE tuning AND status = 'completed' AND val_metric IS NOT NULL
    -- The key breaks ties, so that the answer does not depend on the order of files.
    QUALIFY row_number() OVER (PARTITION BY study_id, arm_id, optimizer, CASE WHEN of_front THEN config_id END
                               ORDER BY of_chosen_finalist DESC, sign * val_metric DESC, trial_key DESC) = 1
        AND (of_front OR NOT bool_or(of_front) OVER (PARTITION BY study_id, arm_id, optimizer))),
-- An epoch has more samples than there are images where patches are cut from them; a trial shows how many.
seen AS (
    SELECT study_id, max(examples_seen // nullif(epochs_run, 0)) AS samples
    FROM whole_trials
    GROUP BY study_id),
again AS (
    SELECT study_id, arm_id, config_id,
           avg(CAST(status = 'diverged' OR coalesce(NOT learned, false) AS INTEGER)) >= 0.5 AS failed_again
    FROM whole_trials
    WHERE stage = 'retrain' AND status IN ('completed', 'diverged')
    GROUP BY ALL),
dimensions AS (
    SELECT study_id, arm_id, optimizer, trial_key AS best_key, dimension,
           CAST(space_json -> optimizer -> dimension ->> 'low' AS DOUBLE) AS low,
           CAST(space_json -> optimizer -> dimension ->> 'high' AS DOUBLE) AS high,
           dimension NOT IN ('learning_rate', 'batch_size', 'quantizer_lr_multiplier', 'step_rate') AS is_option,
           coalesce(CAST(space_json -> optimizer -> dimension ->> 'log' AS BOOLEAN), true) AS is_log
    FROM (SELECT *, unnest(json_keys(space_json -> optimizer)) AS dimension FROM best)
    WHERE dimension <> 'bits' AND NOT starts_with(dimension, 'bits.')
      -- Where nothing is quantized, quantizers have no rate: earlier versions recorded a range for it.
      AND NOT (dimension = 'quantizer_lr_multiplier' AND weight_bits = 32 AND activation_bits = 32)),
valued AS (
    SELECT d.*, t.trial_key,
           CASE dimension WHEN 'learning_rate' THEN t.learning_rate WHEN 'batch_size' THEN t.batch_size
                          WHEN 'quantizer_lr_multiplier' THEN t.quantizer_lr_multiplier
                          WHEN 'step_rate'
                          THEN CAST(t.params_json -> 'quantizer_optimizer' ->> 'learning_rate' AS DOUBLE)
                          ELSE CAST(t.params_json -> 'optimizer_options' ->> dimension AS DOUBLE) END AS value
    FROM dimensions d JOIN named t USING (study_id, arm_id, optimizer)
    WHERE t.tuning AND t.status IN ('completed', 'stopped', 'diverged')),
tried AS (
    SELECT study_id, arm_id, optimizer, best_key, dimension, low, high, is_log, is_option,
           is_option AND high >= 0.5 AND high < 1 AS is_average,
           CASE WHEN dimension IN ('learning_rate', 'step_rate') THEN sqrt(10) WHEN dimension = 'batch_size' THEN 2
                WHEN is_log THEN least(sqrt(10), pow(high / low, 0.125)) ELSE (high - low) / 8 END AS near,
           any_value(value) FILTER (trial_key = best_key) AS best, min(value) AS lowest, max(value) AS highest
    FROM valued
    WHERE low < high
    GROUP BY ALL),
steps AS (
    SELECT *, CASE WHEN dimension = 'batch_size' THEN 2 WHEN dimension IN ('learning_rate', 'step_rate') THEN 10
                   WHEN is_log THEN near * near ELSE 2 * near END AS step
    FROM tried
    WHERE best IS NOT NULL),
judged AS (
    SELECT *, (1 + greatest(high, best)) / 2 AS halfway,
           CASE WHEN is_log THEN greatest(high, best) * step ELSE greatest(high, best) + step END AS wider,
           CASE WHEN is_log THEN best < low * near ELSE best < low + near END
           AND low > CASE dimension WHEN 'batch_size' THEN 1 ELSE 0 END AS at_low,
           CASE WHEN is_average THEN 1 - best < 2 * (1 - high)
                WHEN is_log THEN best > high / near ELSE best > high - near END
           AND NOT (dimension = 'batch_size' AND coalesce(2 * high > greatest(n_train, samples), false)) AS at_high,
           CASE WHEN is_log THEN lowest > best / near ELSE lowest > best - near END
           AND best > CASE dimension WHEN 'batch_size' THEN 1 ELSE 0 END AS none_below,
           CASE WHEN is_average THEN 1 - highest > (1 - best) / 2
                WHEN is_log THEN highest < best * near ELSE highest < best + near END
           AND NOT (dimension = 'batch_size' AND coalesce(2 * best > greatest(n_train, samples), false)) AS none_above
    FROM steps
    JOIN (SELECT study_id, arm_id, optimizer, trial_key AS best_key, mode, workload, method, weight_bits,
                 activation_bits, n_train, config_id
          FROM best) USING (study_id, arm_id, optimizer, best_key)
    JOIN seen USING (study_id)
    LEFT JOIN again USING (study_id, arm_id, config_id))
SELECT study_id, mode, arm_id, workload, method, weight_bits, activation_bits, optimizer, low, high,
       CASE WHEN NOT at_low OR failed_again IS TRUE THEN low
            WHEN is_log THEN least(low, best) / step
            ELSE greatest(least(low, best) - step, least(low, best) / 2) END AS wide_low,
       CASE WHEN NOT at_high OR failed_again IS TRUE THEN high
            WHEN is_average THEN halfway
            -- Many options have to stay below one.
            WHEN is_option AND high < 1 THEN least(wider, halfway) ELSE wider END AS wide_high,
       CASE WHEN none_below AND none_above THEN 'both' WHEN none_below THEN 'low' WHEN none_above THEN 'high'
            ELSE 'none' END AS untried,
       coalesce(failed_again, false) AS failed_again, dimension, best,
       CASE WHEN at_low AND at_high THEN 'both' WHEN at_low THEN 'low' WHEN at_high THEN 'high' ELSE 'none' END AS edge
FROM judged
ORDER BY study_id, edge = 'none', weight_bits DESC, activation_bits DESC, method, arm_id, optimizer, dimension DESC
