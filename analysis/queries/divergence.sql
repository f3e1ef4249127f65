-- How often does each optimizer diverge at each bit width, with a 95 % Wilson interval?
-- Over default, random and search trials: retrain repeats one configuration and would count it several times.
-- Trials that ran out of memory or failed say nothing about divergence and are not in n.
WITH counted AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, count(*) AS n,
           count(*) FILTER (status = 'diverged') AS diverged, diverged / n AS rate,
           1.959963984540054 AS z  -- 97.5 % quantile of the normal distribution
    FROM whole_trials
    WHERE tuning AND status IN ('completed', 'stopped', 'diverged')
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer),
-- Wilson, JASA 1927.
wilson AS (
    SELECT *, (rate + z * z / (2 * n)) / (1 + z * z / n) AS centre,
           z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4.0 * n * n)) AS half
    FROM counted)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, diverged, rate,
       greatest(0, centre - half) AS ci_low, least(1, centre + half) AS ci_high
FROM wilson
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, rate DESC, optimizer
