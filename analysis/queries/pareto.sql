-- What does accuracy cost: which points of test score against bytes of weights, and bit operations, are not dominated?
-- A point is a scheme, trained by the optimizer that does best on validation data (mean over retrain trials; none of a
-- worsened control), or calibrated only, or at 32/32 the start that is not trained further. Scores are on test data: of trained
-- ones as in `leaderboard`, of calibrated models the mean and Student's t interval over all that were evaluated.
-- A point is `dominated` where another one that costs no more is better by the whole of both intervals, `cannot be told
-- apart` where another that costs no more has a better mean and the intervals overlap, or one of the two has none, and on the
-- `front` else. Of studies whose record has costs: `tune-qat cost` works them out for others.
WITH boards AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, min(repeat) < max(repeat) AS repeated
    FROM whole_arms GROUP BY ALL),
trained AS (
    SELECT t.study_id, t.mode, t.workload, t.method, t.weight_bits, t.activation_bits, t.optimizer, t.metric, t.unit, t.sign,
           if(b.repeated, CAST(t.repeat AS VARCHAR), t.trial_key) AS replicate, avg(t.test_score) AS score,
           avg(t.validation_score) AS validation,
           count(*) FILTER (t.status <> 'completed' OR t.test_metric IS NULL OR t.collapsed) AS failed, count(*) AS trials
    -- A search over bits has a board without any.
    FROM whole_trials t JOIN boards b
         ON b.study_id = t.study_id AND b.mode = t.mode AND b.workload = t.workload AND b.method = t.method
            AND coalesce(b.weight_bits, t.weight_bits) = t.weight_bits
            AND coalesce(b.activation_bits, t.activation_bits) = t.activation_bits
    WHERE t.stage = 'retrain' AND t.ended AND t.status <> 'stopped' AND t.control IS NULL
    GROUP BY ALL),
arms_of_scheme AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign,
           avg(score) AS mean, count(*) AS n, avg(validation) AS validation,
           CASE WHEN sum(failed) IN (0, sum(trials)) THEN stddev_samp(score) / sqrt(count(*)) END AS standard_error
    FROM trained GROUP BY ALL),
best AS (
    SELECT * FROM arms_of_scheme
    QUALIFY row_number() OVER (PARTITION BY study_id, workload, method, weight_bits, activation_bits
                               ORDER BY sign * validation DESC, optimizer) = 1),
-- The trials of an arm say which scheme is its own: a calibrated model belongs to no arm.
of_files AS (
    SELECT file_id, study_id, mode, workload, method, weight_bits, activation_bits,
           CAST(params_json -> '$.scheme' AS VARCHAR) AS scheme, any_value(metric) AS metric, any_value(unit) AS unit,
           any_value(sign) AS sign, any_value(trivial_test_score) AS trivial
    FROM whole_trials WHERE stage = 'retrain' AND control IS NULL GROUP BY ALL),
calibrated AS (
    SELECT o.study_id, o.mode, o.workload, o.method, o.weight_bits, o.activation_bits, o.metric, o.unit, o.sign,
           avg(if(t.status = 'completed', t.test_metric, o.trivial)) AS mean, count(*) AS n,
           stddev_samp(if(t.status = 'completed', t.test_metric, o.trivial)) / sqrt(count(*)) AS standard_error
    FROM trials t JOIN of_files o
         ON o.file_id = t.study_id AND o.workload = t.workload AND o.scheme = CAST(t.params_json -> '$.scheme' AS VARCHAR)
    WHERE t.stage = 'calibrated' AND t.status IN ('completed', 'diverged')
    GROUP BY ALL),
points AS (
    SELECT *, 'trained' AS point FROM best
    UNION ALL BY NAME
    SELECT *, if(weight_bits = 32 AND activation_bits = 32, 'start', 'calibrated only') AS point FROM calibrated),
placed AS (
    SELECT p.* EXCLUDE (standard_error, validation), s.weight_bytes, s.bit_operations,
           if(unit IN ('fraction', 'percent') AND mean - t * standard_error < 0, 0, mean - t * standard_error) AS ci_low,
           CASE WHEN unit = 'fraction' AND mean + t * standard_error > 1 THEN 1
                WHEN unit = 'percent' AND mean + t * standard_error > 100 THEN 100
                ELSE mean + t * standard_error END AS ci_high
    FROM points p JOIN scheme_costs s USING (study_id, mode, workload, method, weight_bits, activation_bits)
    LEFT JOIN student_t ON df = least(n - 1, 1000)),
compared AS (
    SELECT a.study_id, a.workload, a.method, a.weight_bits, a.activation_bits, a.point,
           b.weight_bytes <= a.weight_bytes AS lighter, b.bit_operations <= a.bit_operations AS fewer,
           b.sign * b.mean - a.sign * a.mean AS gain,
           if(a.sign = 1, b.ci_low > a.ci_high, b.ci_high < a.ci_low) IS TRUE AS apart
    FROM placed a JOIN placed b
         ON a.study_id = b.study_id AND a.workload = b.workload
            AND (a.method, a.weight_bits, a.activation_bits, a.point)
                IS DISTINCT FROM (b.method, b.weight_bits, b.activation_bits, b.point)
    WHERE gain > 0),
judged AS (
    SELECT study_id, workload, method, weight_bits, activation_bits, point,
           bool_or(lighter AND apart) AS heavy, bool_or(lighter) AS near_in_bytes,
           bool_or(fewer AND apart) AS slow, bool_or(fewer) AS near_in_operations
    FROM compared GROUP BY ALL)
SELECT p.study_id, p.mode, p.workload, p.method, p.weight_bits, p.activation_bits, p.point, p.optimizer, p.weight_bytes,
       p.bit_operations, p.mean, p.ci_low, p.ci_high, p.n,
       CASE WHEN heavy THEN 'dominated' WHEN near_in_bytes THEN 'cannot be told apart' ELSE 'front' END AS by_bytes,
       CASE WHEN slow THEN 'dominated' WHEN near_in_operations THEN 'cannot be told apart' ELSE 'front' END
           AS by_bit_operations,
       p.metric, p.unit
FROM placed p LEFT JOIN judged j USING (study_id, workload, method, weight_bits, activation_bits, point)
ORDER BY p.study_id, p.workload, p.weight_bytes DESC, p.bit_operations DESC, p.method, p.point
