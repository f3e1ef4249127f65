-- What was published for these workloads, and what do we have beside it?
-- One row for each published number and board of the same workload, metric and bits; a number of a quantized model whose
-- source says no bits stands beside every quantized board. `same_method`: it is of the board's quantizer.
-- `published` is in our unit; `value`, `published_unit` and `statistic` are as printed. `mean` is ours over n retrain
-- trials on test data, a failed or collapsed one as the trivial score: NULL where we have none. `trivial` is the best
-- constant prediction on our test data. Splits, budgets and starts differ: read `recipe` and `note` before comparing.
WITH boards AS (
    SELECT DISTINCT study_id, mode, workload, method, quantizer, weight_bits,
           activation_bits, metric, unit, sign, trivial_test_score AS trivial
    FROM whole_arms
    WHERE control IS NULL),
ours AS (
    SELECT study_id, mode, workload, method, weight_bits, activation_bits, optimizer, count(*) AS n,
           avg(test_score) AS mean
    FROM whole_trials
    WHERE stage = 'retrain' AND ended AND status <> 'stopped'
    GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, optimizer),
beside AS (
    SELECT b.*, r.optimizer, r.source, r.source_table, r.method AS published_method, r.statistic, r.value,
           r.unit AS published_unit, r.recipe, r.note, r.quantizer IS NOT DISTINCT FROM b.quantizer AS same_method,
           CASE WHEN r.unit = b.unit THEN r.value WHEN r.unit = 'percent' AND b.unit = 'fraction' THEN r.value / 100 END
               AS published
    FROM reference r JOIN boards b USING (workload, metric)
    WHERE (r.weight_bits = b.weight_bits AND r.activation_bits = b.activation_bits)
       OR (r.weight_bits IS NULL AND r.quantizer <> 'none' AND b.weight_bits < 32))
SELECT p.study_id, p.mode, p.workload, p.method, p.weight_bits, p.activation_bits, p.optimizer, p.published, o.mean,
       coalesce(o.n, 0) AS n, p.metric, p.unit, p.trivial, p.source, p.source_table, p.published_method, p.same_method, p.statistic,
       p.value, p.published_unit, p.recipe, p.note
FROM beside p LEFT JOIN ours o USING (study_id, mode, workload, method, weight_bits, activation_bits, optimizer)
ORDER BY p.study_id, p.workload, p.weight_bits DESC, p.activation_bits DESC, p.method, p.source, p.source_table,
         p.sign * p.published DESC NULLS LAST, p.optimizer
