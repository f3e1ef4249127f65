-- Does oscillation explain what quantization loses: rank correlation of oscillating weights with the validation metric?
-- Across completed default, random and search trials of a board, at their last epoch; optimizer NULL: all together, by
-- ranks within each optimizer, so that one that oscillates more and ends worse for another reason makes no correlation.
-- `oscillation` is the mean frequency over the quantized weights of the network, a layer counting by its weights.
-- `spearman` is above 0 where trials that oscillate more end worse. That is no cause: a larger learning rate may bring
-- both. Trials that diverged have no last state that could oscillate; they stand beside the n that have (`diverged`).
-- Interval: Fisher's transform with the variance of Bonett and Wright, Psychometrika 2000, with a trial less for each
-- further optimizer, whose mean rank is taken out; NULL below 10 trials.
WITH networks AS (
    SELECT t.study_id, t.trial_key, sum(l.oscillation_frequency * l.numel) / sum(l.numel) AS oscillation
    FROM whole_trials t JOIN layers l ON l.study_id = t.file_id AND l.trial_key = t.trial_key AND l.epoch = t.epochs_run
    WHERE t.tuning AND t.status = 'completed' AND t.val_metric IS NOT NULL
      AND l.kind = 'weight' AND l.oscillation_frequency IS NOT NULL
    GROUP BY t.study_id, t.trial_key),
known AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit, sign, status,
           val_metric, oscillation
    FROM whole_trials LEFT JOIN networks USING (study_id, trial_key)
    WHERE tuning AND weight_bits < 32 AND (status = 'diverged' OR oscillation IS NOT NULL)),
-- Equal values share the mean of their ranks. A rank is one within the optimizer, from its middle, over the trials.
ranked AS (
    SELECT *, (rank() OVER (arm ORDER BY oscillation)
               + (count(*) OVER (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer,
                                              status, oscillation) - 1) / 2 - (count(*) OVER arm + 1) / 2)
              / count(*) OVER arm AS oscillation_rank,
           (rank() OVER (arm ORDER BY -sign * val_metric)
            + (count(*) OVER (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer,
                                           status, val_metric) - 1) / 2 - (count(*) OVER arm + 1) / 2)
           / count(*) OVER arm AS lost_rank
    FROM known
    WINDOW arm AS (PARTITION BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, status)),
grouped AS (FROM ranked UNION ALL SELECT * REPLACE (CAST(NULL AS VARCHAR) AS optimizer) FROM ranked),
counted AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits,
           count(DISTINCT optimizer) FILTER (oscillation IS NOT NULL) AS optimizers
    FROM known GROUP BY ALL),
correlated AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit,
           count(oscillation) AS n, count(*) FILTER (status = 'diverged') AS diverged, avg(oscillation) AS oscillation,
           avg(val_metric) FILTER (oscillation IS NOT NULL) AS val_metric,
           -- NaN where one of the two never changes.
           nullif(corr(lost_rank, oscillation_rank) FILTER (oscillation IS NOT NULL), 'nan'::DOUBLE) AS spearman
    FROM grouped
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer, metric, unit),
transformed AS (
    -- Rounding takes a correlation of 1 a few units of the last place below it; the next one is 12 / (n^3 - n) below.
    SELECT *, CASE WHEN n >= 10 AND abs(spearman) < 1 - 1e-12 THEN atanh(spearman) END AS z,
           -- 97.5 % quantile of the normal distribution.
           1.959963984540054 * sqrt((1 + spearman * spearman / 2)
               / nullif(greatest(n - 3 - CASE WHEN optimizer IS NULL THEN optimizers - 1 ELSE 0 END, 0), 0)) AS half
    FROM correlated JOIN counted USING (study_id, mode, workload, method, weight_bits, activation_bits))
SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, n, diverged, oscillation, val_metric,
       spearman, tanh(z - half) AS ci_low, tanh(z + half) AS ci_high, metric, unit
FROM transformed
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, optimizer NULLS FIRST
