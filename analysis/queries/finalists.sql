-- Which configuration did each arm choose among its finalists, and how much of the best trial's lead was luck?
-- One row for each configuration that the stage finalists has trained again. `searched` is the final validation metric
-- of its best trial before, `again` the mean over its further seeds, `mean` that over all `n`; of the best few the
-- largest mean is `chosen`. A trial that diverged, ran out of memory, failed, or is no better than the constant
-- predictor counts as the trivial score in all of these (`not_learned`). `luck` is what the trial before had above
-- `again`, above 0 where it flattered. A configuration that later trials have put out of the best few stays listed.
WITH scored AS (
    SELECT *, NOT coalesce(status = 'completed' AND sign * (val_metric - trivial_score) > 0, false) AS failed,
           CASE WHEN failed THEN trivial_score ELSE val_metric END AS score
    FROM whole_trials
    WHERE ended AND status <> 'stopped'),
searched AS (
    SELECT study_id, arm_id, config_id, score, failed
    FROM scored
    WHERE tuning AND status = 'completed' AND val_metric IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY study_id, arm_id, config_id
                               ORDER BY sign * val_metric DESC, trial_key DESC) = 1),
again AS (
    SELECT study_id, arm_id, config_id, mode, workload, method, weight_bits, activation_bits, optimizer, learning_rate,
           batch_size, metric, unit, sign, avg(score) AS again, sum(score) AS total, count(*) AS trials,
           count(*) FILTER (failed) AS failures, bool_or(of_chosen_finalist) AS chosen
    FROM scored
    WHERE stage = 'finalists'
    GROUP BY ALL)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, arm_id, config_id, learning_rate,
       batch_size, s.score AS searched, again, (s.score + total) / (1 + trials) AS mean, 1 + trials AS n,
       failures + CAST(s.failed AS INTEGER) AS not_learned, sign * (s.score - again) AS luck, chosen, metric, unit
FROM again JOIN searched s USING (study_id, arm_id, config_id)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, arm_id, sign * mean DESC, config_id
