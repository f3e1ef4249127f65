-- Does quantization change the ranking: what each optimizer loses against its own 32/32 control, beside a reference?
-- On test data of retrain trials; one that diverged, ran out of memory or failed counts as the trivial score.
-- `loss` is what quantization costs, above 0 where the control is better: the mean over n pairs of the same repeat and
-- seed. `gain` is the difference of differences, the reference's loss minus the optimizer's: above 0 where quantization
-- favours the optimizer over the reference. Two others are compared by the difference of their gains.
-- The reference is sgd, the plainest rule, or else the first name of the board: fixed before there are scores, as one
-- that is chosen for its scores would lose some of its luck in every comparison.
-- Intervals: Student's t over the pairs, NULL below 2. Joint mode is left out, which ranks no optimizers.
WITH scores AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, repeat, seed, metric, unit, sign,
           any_value(margin) AS margin, weight_bits = 32 AND activation_bits = 32 AS is_control,
           avg(sign * CASE WHEN status = 'completed' THEN coalesce(test_metric, trivial_test_score)
                           ELSE trivial_test_score END) AS objective
    FROM arm_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped' AND mode <> 'joint'
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, repeat, seed, metric, unit,
             sign),
losses AS (
    SELECT q.*, c.objective AS control, c.objective - q.objective AS loss,
           coalesce(max(optimizer) FILTER (optimizer = 'sgd') OVER board, min(optimizer) OVER board) AS reference
    FROM scores q JOIN (FROM scores WHERE is_control) c USING (study_id, mode, workload, optimizer, repeat, seed)
    WHERE NOT q.is_control
    WINDOW board AS (PARTITION BY study_id, mode, workload, q.method, q.weight_bits, q.activation_bits)),
compared AS (
    SELECT l.*, r.loss - l.loss AS gain
    FROM losses l LEFT JOIN losses r
         ON l.study_id = r.study_id AND l.mode = r.mode AND l.workload = r.workload AND l.method = r.method
        AND l.weight_bits = r.weight_bits AND l.activation_bits = r.activation_bits AND l.repeat = r.repeat
        AND l.seed = r.seed AND r.optimizer = l.reference AND l.optimizer <> l.reference),
grouped AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, reference, metric, unit, sign,
           any_value(margin) AS margin, count(*) AS n, avg(control) AS control, avg(objective) AS objective,
           avg(loss) AS loss, stddev_samp(loss) / sqrt(count(*)) AS loss_error,
           count(gain) AS n_gain, avg(gain) AS gain, stddev_samp(gain) / sqrt(count(gain)) AS gain_error
    FROM compared
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, reference, metric, unit, sign)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, sign * control AS control,
       sign * objective AS mean, loss, loss - t.t * loss_error AS ci_low, loss + t.t * loss_error AS ci_high,
       rank() OVER (board ORDER BY control DESC) AS place_control, rank() OVER (board ORDER BY objective DESC) AS place,
       reference, n_gain, gain, gain - g.t * gain_error AS gain_ci_low, gain + g.t * gain_error AS gain_ci_high,
       metric, unit, margin
FROM grouped LEFT JOIN student_t t ON t.df = least(n - 1, 1000) LEFT JOIN student_t g ON g.df = least(n_gain - 1, 1000)
WINDOW board AS (PARTITION BY study_id, workload, method, weight_bits, activation_bits)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, gain DESC NULLS LAST, optimizer
