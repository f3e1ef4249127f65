-- How sensitive is each optimizer to its learning rate: validation metric per quarter decade, failures shown?
-- Over default, random and search trials. One that ASHA stopped is counted and not scored: its last epoch is an early
-- one, which says nothing beside a last epoch.
-- A trial that diverged, ran out of memory, failed or collapsed counts as the trivial score, never as nothing.
-- `learning_rate` is the middle of the quarter decade; `diverged`, `failed` and `stopped` are shares of n.
WITH scored AS (
    SELECT *, round(4 * log10(learning_rate)) / 4 AS log10_rate,
           sign * validation_score AS objective
    FROM whole_trials
    WHERE tuning AND ended),
binned AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, log10_rate, metric, unit, sign,
           count(*) AS n, max(objective) AS best, median(objective) AS median,
           avg(CAST(status = 'diverged' AS INTEGER)) AS diverged,
           avg(CAST(status IN ('oom', 'error') AS INTEGER)) AS failed,
           avg(CAST(status = 'stopped' AS INTEGER)) AS stopped, any_value(trivial_score) AS trivial
    FROM scored
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, log10_rate, metric, unit, sign)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer,
       pow(10, log10_rate) AS learning_rate, n, sign * best AS best, sign * median AS median, diverged, failed, stopped,
       metric, unit, trivial
FROM binned
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, log10_rate
