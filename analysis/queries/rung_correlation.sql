-- Does ASHA keep the right trials: rank correlation of the validation metric at each rung with the one at the end?
-- A row for each arm and rung: ASHA compares the trials of one arm, in joint mode those of all its optimizers.
-- Over the stages default and random, which nothing stops early, so that late starters are seen to the end; search
-- trials that ASHA let live are a selection. One that failed or collapsed after a rung ends with the trivial score.
-- Rungs are the arm's: its grace period times powers of its reduction factor, below its epochs.
-- `place_of_best` is the place at the rung of the trial that ends best; `kept` whether it is in the share that goes on,
-- one in `reduction_factor`. Of the arm's `unstopped` trials, `n` have a value at the rung. Arms without ASHA, and rungs
-- with fewer than 3 trials, have no row.
WITH rungs AS (
    SELECT study_id, arm_id, reduction_factor,
           unnest(list_transform(range(0, 1 + CAST(ceil(log2(max_epochs)) AS BIGINT)),
                                 lambda i: CAST(round(grace_epochs * pow(reduction_factor, i)) AS BIGINT))) AS rung
    FROM whole_arms
    WHERE scheduler = 'asha' AND reduction_factor > 1),
free AS (
    SELECT study_id, file_id, arm_id, trial_key, epochs, sign, count(*) OVER (PARTITION BY study_id, arm_id) AS unstopped,
           sign * validation_score AS at_end
    FROM whole_trials
    WHERE stage IN ('default', 'random') AND ended AND status <> 'stopped'),
values_at AS (
    SELECT t.study_id, t.arm_id, r.rung, r.reduction_factor, t.unstopped, t.sign * e.val_metric AS at_rung, t.at_end
    FROM free t JOIN rungs r USING (study_id, arm_id)
         JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key AND e.epoch = r.rung
    WHERE r.rung < t.epochs AND e.val_metric IS NOT NULL),
-- Equal values share the mean of their ranks; the best has place 1.
ranked AS (
    SELECT *, rank() OVER (rung ORDER BY at_rung DESC) AS place,
           place + (count(*) OVER (PARTITION BY study_id, arm_id, rung, at_rung) - 1) / 2 AS rung_rank,
           rank() OVER (rung ORDER BY at_end DESC)
           + (count(*) OVER (PARTITION BY study_id, arm_id, rung, at_end) - 1) / 2 AS end_rank
    FROM values_at
    WINDOW rung AS (PARTITION BY study_id, arm_id, rung)),
correlated AS (
    SELECT study_id, arm_id, rung, any_value(reduction_factor) AS reduction_factor,
           any_value(unstopped) AS unstopped, count(*) AS n,
           -- NaN where one of the two never changes.
           nullif(corr(rung_rank, end_rank), 'nan'::DOUBLE) AS spearman,
           -- Of several that end best alike, the one that is best at the rung.
           arg_min(place, (end_rank, place)) AS place_of_best
    FROM ranked
    GROUP BY study_id, arm_id, rung)
SELECT study_id, a.mode, a.workload, a.method, a.weight_bits, a.activation_bits, a.optimizer, a.repeat, c.rung,
       c.reduction_factor, c.n, c.spearman, c.place_of_best, c.place_of_best <= ceil(c.n / c.reduction_factor) AS kept,
       c.unstopped
FROM correlated c JOIN whole_arms a USING (study_id, arm_id)
WHERE c.n >= 3
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, repeat, rung
