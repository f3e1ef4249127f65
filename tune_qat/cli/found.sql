-- What has each search found on validation data? The choice of each arm, and the best three of a search over all optimizers.
-- `score` is the mean of the final validation metric over the runs of a configuration, of which finalists have several;
-- `trials` counts those of the arm's tuning that have ended.
WITH configurations AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, arm_id, config_id,
           any_value(learning_rate) AS learning_rate, any_value(batch_size) AS batch_size,
           any_value(metric) AS metric, any_value(unit) AS unit, any_value(sign) AS sign,
           bool_or(of_chosen_finalist) AS chosen, avg(validation_score) AS score
    FROM whole_trials
    WHERE (tuning OR stage = 'finalists') AND status = 'completed' AND val_metric IS NOT NULL AND control IS NULL
    GROUP BY ALL),
counted AS (
    SELECT study_id, arm_id, count(*) AS trials
    FROM whole_trials
    WHERE tuning AND ended
    GROUP BY ALL)
SELECT *
FROM configurations JOIN counted USING (study_id, arm_id)
QUALIFY row_number() OVER (PARTITION BY study_id, arm_id ORDER BY chosen DESC, sign * score DESC, config_id)
        <= if(mode = 'joint', 3, 1)
ORDER BY study_id, weight_bits = 32 AND activation_bits = 32, weight_bits DESC, activation_bits DESC, method,
         sign * score DESC, arm_id, config_id
