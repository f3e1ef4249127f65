-- What does each scheme cost: parameters, multiply-accumulates, bytes of weights, largest activation, bit operations?
-- For one training sample (in super-resolution a patch). `weight_bytes`: weights packed to their bits, with 4 bytes for each
-- bias, scale and parameter in floating point; `stored_bytes`: the same where a code takes 1, 2, 4 or 8 bits, as in an
-- exported `.pt`. `activation_bytes`: the largest input of a layer. `bit_operations`: multiply-accumulates times the bits
-- of weights and of inputs, 32 where a layer is in floating point; `float_share`: share of multiply-accumulates in such
-- layers. Of studies whose record has costs: `tune-qat cost` works them out for others.
SELECT *
FROM scheme_costs
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method
