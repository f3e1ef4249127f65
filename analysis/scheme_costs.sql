-- What each scheme of a study costs for one training sample: sums over the layers of `costs`. `study_id` is the name that
-- the study's files are shown under (`parts.sql`); where several of them have a scheme, its layers count once.
WITH files AS (SELECT file_id, study_id, mode, workload FROM whole_arms GROUP BY ALL),
layers_of_scheme AS (
    SELECT f.study_id, f.mode, f.workload, c.method, c.weight_bits, c.activation_bits, c.layer,
           any_value(c.parameters) AS parameters, any_value(c.macs) AS macs, any_value(c.weight_bytes) AS weight_bytes,
           any_value(c.stored_bytes) AS stored_bytes, any_value(c.activation_bytes) AS activation_bytes,
           any_value(c.bit_operations) AS bit_operations,
           any_value(c.weight_width = 32 AND c.input_width = 32) AS floating
    FROM costs c JOIN files f ON f.file_id = c.study_id
    GROUP BY ALL)
SELECT study_id, mode, workload, method, weight_bits, activation_bits,
       CAST(sum(parameters) AS BIGINT) AS parameters, CAST(sum(macs) AS BIGINT) AS macs,
       CAST(sum(weight_bytes) AS BIGINT) AS weight_bytes, CAST(sum(stored_bytes) AS BIGINT) AS stored_bytes,
       max(activation_bytes) AS activation_bytes, CAST(sum(bit_operations) AS BIGINT) AS bit_operations,
       coalesce(sum(macs) FILTER (floating), 0) / nullif(sum(macs), 0) AS float_share
FROM layers_of_scheme
GROUP BY ALL
