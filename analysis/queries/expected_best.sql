-- What does a tuning budget buy: the expected best validation metric after k random trials, for each optimizer?
-- Over the stage random, which nothing stops early; without it there is no answer. A trial that diverged, ran out of
-- memory, failed or collapsed counts as the trivial score. k goes up to n, the trials there are; repeats of an arm are
-- pooled.
-- Points of a Sobol sequence are no independent draws and are left out: `tuning_curves` has those curves, from repeats.
-- The V-statistic of Dodge et al., "Show Your Work", EMNLP 2019: with scores sorted from worst to best,
-- sum of y_i ((i/n)^k - ((i-1)/n)^k). Biased low, the more the nearer k is to n. NULL where a trial failed and its
-- trivial score is not known, as in imported studies.
WITH scored AS (
    SELECT *, sign * validation_score AS objective
    FROM whole_trials
    WHERE stage = 'random' AND ended AND status <> 'stopped' AND design IS DISTINCT FROM 'sobol'),
ranked AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, objective,
           row_number() OVER (arm ORDER BY objective) AS i, count(*) OVER arm AS n
    FROM scored
    WINDOW arm AS (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer)),
budgets AS (
    SELECT *, unnest(range(1, n + 1)) AS k
    FROM ranked)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, k, n,
       CASE WHEN count(objective) = n THEN sign * sum(objective * (pow(i / n, k) - pow((i - 1) / n, k))) END
           AS expected_best, metric, unit
FROM budgets
GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, k, n, metric, unit, sign
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, k
