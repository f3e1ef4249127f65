-- Which learning rate does each batch size want: validation metric by half decade, and the best rate of each size?
-- Over default, random and search trials. One that ASHA stopped is counted and not scored.
-- A trial that diverged, ran out of memory, failed or collapsed counts as the trivial score, never as nothing.
-- `learning_rate` is the middle of the half decade; `diverged`, `failed` and `stopped` are shares of n.
-- `best_learning_rate` is that of the best completed trial of the batch size, NULL where none was completed, and
-- `best_at_batch_size` says which half decade holds it. Linear scaling: it doubles with the batch size; square-root
-- scaling: it doubles with four times the batch size.
WITH scored AS (
    SELECT *, round(2 * log10(learning_rate)) / 2 AS log10_rate,
           sign * validation_score AS objective
    FROM whole_trials
    WHERE tuning AND ended),
best AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size,
           learning_rate AS best_learning_rate, log10_rate AS best_log10_rate
    FROM scored
    WHERE status = 'completed' AND val_metric IS NOT NULL
    -- The key breaks ties, so that the answer does not depend on the order of files.
    QUALIFY row_number() OVER (
        PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size
        ORDER BY objective DESC, trial_key DESC) = 1),
cells AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size, log10_rate,
           metric, unit, sign, count(*) AS n, max(objective) AS best,
           avg(CAST(status = 'diverged' AS INTEGER)) AS diverged,
           avg(CAST(status IN ('oom', 'error') AS INTEGER)) AS failed,
           avg(CAST(status = 'stopped' AS INTEGER)) AS stopped, any_value(trivial_score) AS trivial
    FROM scored
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size, log10_rate,
             metric, unit, sign)
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size,
       pow(10, log10_rate) AS learning_rate, n, sign * best AS best, diverged, failed, stopped, best_learning_rate,
       log10_rate IS NOT DISTINCT FROM best_log10_rate AS best_at_batch_size, metric, unit, trivial
FROM cells LEFT JOIN best
     USING (study_id, mode, workload, method, weight_bits, activation_bits, optimizer, batch_size)
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer, batch_size, log10_rate
