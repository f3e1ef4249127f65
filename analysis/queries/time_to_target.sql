-- How fast does each tuned optimizer reach a good result: device seconds to a target, as a ratio to the fastest?
-- `target`: the final validation metric of default trials, median over the optimizers of the board, a failed one as the
-- trivial score: as good as a typical optimizer with its documented defaults after the whole budget. No optimizer sets
-- it alone, and the trials that set it are not the ones that are timed. Without the stage default there is no answer.
-- Timed: retrain trials, until the end of the first epoch at or beyond the target, evaluations included. `device_s` is
-- the median over the n trials, and infinite where no more than half of them get there (`reached`).
-- `score` is what the board adds to the score of AlgoPerf (Dahl et al., arXiv 2306.07179): the performance
-- profile integrated over ratios from 1 to 4, max(0, (4 - ratio) / 3). Their mean over boards is the optimizer's score.
-- `copied`: all n were taken over from another study of these results, which has a row of its own.
-- There tuning is part of a run; here it is done, and every seed of the chosen configuration is a run.
WITH defaults AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, sign,
           avg(sign * validation_score) AS objective
    FROM whole_trials
    WHERE stage = 'default' AND ended AND status <> 'stopped'
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, sign),
targets AS (
    SELECT study_id, workload, method, weight_bits, activation_bits, median(objective) AS target
    FROM defaults
    GROUP BY study_id, workload, method, weight_bits, activation_bits),
timed AS (
    SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.trial_key,
           t.metric, t.unit, t.sign, t.copied, any_value(target) AS target,
           coalesce(min(e.device_s) FILTER (t.sign * e.val_metric >= target), 'inf'::DOUBLE) AS device_s
    FROM whole_trials t JOIN targets USING (study_id, workload, method, weight_bits, activation_bits)
         LEFT JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key
    WHERE t.stage = 'retrain' AND t.ended AND t.status <> 'stopped' AND t.mode <> 'joint'
    GROUP BY t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.trial_key,
             t.metric, t.unit, t.sign, t.copied),
medians AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, target,
           count(*) AS n, count(*) FILTER (isfinite(device_s)) AS reached, bool_and(copied) AS copied,
           CASE WHEN 2 * reached > n THEN median(device_s) ELSE 'inf'::DOUBLE END AS device_s
    FROM timed
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, target),
compared AS (
    SELECT *, CASE WHEN isfinite(device_s) THEN
                  device_s / min(device_s) OVER (PARTITION BY study_id, workload, method, weight_bits, activation_bits)
              ELSE 'inf'::DOUBLE END AS ratio
    FROM medians)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, reached, device_s, ratio,
       greatest(0, (4 - ratio) / 3) AS score, sign * target AS target, metric, unit, copied
FROM compared
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, ratio, optimizer
