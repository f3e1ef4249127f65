-- Does quantization change the ranking: what each optimizer loses against its own 32/32 control, beside the others?
-- On test data of retrain trials; one that diverged, ran out of memory, failed or collapsed counts as the trivial score.
-- `loss` is what quantization costs, above 0 where the control is better: the mean over n pairs of the same repeat and
-- seed; where a board has several repeats, a repeat is one pair, the mean over its seeds. `against`: the control, which is
-- that from the start itself (32/32) or, in rows of their own, from one worsened to the metric of the quantized start.
-- `gain` is the difference of differences: what the reference loses minus what the optimizer loses, above 0 where
-- quantization favours the optimizer. The reference is the optimizer that the study file names for all comparisons, or
-- else the board: the median loss of all its optimizers in the same pair, over the pairs that all have. One whose search
-- went wrong does not move a median, while as the reference its bad luck would be in every gain. Of two optimizers each
-- is compared with the other; any two by the difference of their gains.
-- Intervals: Student's t over the pairs, NULL below 2, and where some trials of the optimizer failed or collapsed and
-- others did not. Joint mode is left out, which ranks no optimizers.
WITH scores AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, base_optimizer, repeat, seed,
           metric, unit, sign, any_value(margin) AS margin,
           weight_bits = 32 AND activation_bits = 32 AS is_control, control, control_for,
           avg(sign * test_score) AS objective,
           bool_or(status <> 'completed' OR test_metric IS NULL OR collapsed) AS lost
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped' AND mode <> 'joint'
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, base_optimizer, repeat, seed,
             metric, unit, sign, control, control_for),
seeds AS (
    SELECT q.* EXCLUDE (control, control_for), c.objective AS control, c.objective - q.objective AS loss,
           q.lost OR c.lost AS either_lost,
           CASE WHEN c.control IS NULL THEN '32/32' ELSE '32/32 from a worsened start' END AS against,
           CASE WHEN min(q.repeat) OVER board < max(q.repeat) OVER board THEN 0 ELSE q.seed END AS pair_seed
    FROM scores q JOIN (FROM scores WHERE is_control AND optimizer = base_optimizer) c
         USING (study_id, mode, workload, base_optimizer, repeat, seed)
    WHERE NOT q.is_control
      AND (c.control IS NULL OR c.control_for = q.weight_bits || '/' || q.activation_bits)
    WINDOW board AS (PARTITION BY study_id, mode, workload, q.method, q.weight_bits, q.activation_bits, c.control)),
losses AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, against, optimizer, metric, unit, sign,
           repeat, pair_seed, any_value(margin) AS margin, avg(objective) AS objective, avg(control) AS control,
           avg(loss) AS loss, bool_or(either_lost) AS lost
    FROM seeds
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, against, optimizer, metric, unit, sign,
             repeat, pair_seed),
referenced AS (
    SELECT l.*, r.named, any_value(loss) FILTER (optimizer = named) OVER pair AS loss_of_named,
           any_value(lost) FILTER (optimizer = named) OVER pair AS lost_of_named, median(loss) OVER pair AS median_loss,
           count(*) OVER pair AS present
    FROM losses l
         LEFT JOIN (SELECT a.study_id, min(s.definition_json ->> '$.judgement.reference') AS named
                    FROM whole_arms a JOIN studies s ON s.study_id = a.file_id GROUP BY ALL) r USING (study_id)
    WINDOW pair AS (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, against, repeat,
                                 pair_seed)),
compared AS (
    SELECT *, max(present) OVER board AS optimizers,
           coalesce(named, CASE WHEN optimizers > 2 THEN 'the median of the board' ELSE 'the other optimizer' END)
               AS reference,
           CASE WHEN named IS NOT NULL AND optimizer <> named THEN loss_of_named - loss
                WHEN named IS NULL AND present = optimizers AND optimizers > 1 THEN
                    -- The median of two is half-way between them.
                    (median_loss - loss) * CASE WHEN optimizers = 2 THEN 2 ELSE 1 END END AS gain
    FROM referenced
    WINDOW board AS (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, against)),
grouped AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, against, optimizer, reference, metric, unit,
           sign, any_value(margin) AS margin, count(*) AS n, avg(control) AS control, avg(objective) AS objective,
           avg(loss) AS loss, count(gain) AS n_gain, avg(gain) AS gain,
           bool_or(lost) AND NOT bool_and(lost) AS two_humps,
           CASE WHEN NOT two_humps THEN stddev_samp(loss) / sqrt(count(*)) END AS loss_error,
           CASE WHEN NOT (two_humps OR coalesce(bool_or(lost_of_named) AND NOT bool_and(lost_of_named), false))
                THEN stddev_samp(gain) / sqrt(count(gain)) END AS gain_error
    FROM compared
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, against, optimizer, reference, metric,
             unit, sign)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, sign * control AS control,
       sign * objective AS mean, loss, loss - t.t * loss_error AS ci_low, loss + t.t * loss_error AS ci_high,
       rank() OVER (board ORDER BY control DESC) AS place_control, rank() OVER (board ORDER BY objective DESC) AS place,
       reference, n_gain, gain, gain - g.t * gain_error AS gain_ci_low, gain + g.t * gain_error AS gain_ci_high,
       metric, unit, margin, against
FROM grouped LEFT JOIN student_t t ON t.df = least(n - 1, 1000) LEFT JOIN student_t g ON g.df = least(n_gain - 1, 1000)
WINDOW board AS (PARTITION BY study_id, workload, method, weight_bits, activation_bits, against)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, against, gain DESC NULLS LAST, optimizer
