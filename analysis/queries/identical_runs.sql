-- Which runs should differ and do not: two optimizers, configurations or seeds whose curves are equal to the last bit?
-- One row for each set of ended trials of a board whose training loss, validation loss and validation metric are the
-- same after every epoch. Such runs are one run: a mean over them has no spread of its own, and optimizers that share a
-- curve are one optimizer here (clipping that never clips, a weight decay of 0).
-- Trials with an unknown training loss are left out, and so are two stages of one configuration and seed, which have to
-- be equal. Curves are compared by a 64-bit hash, with the last loss beside it.
WITH curves AS (
    SELECT study_id AS file_id, trial_key, count(*) AS epochs, bit_xor(hash(epoch, train_loss, val_loss, val_metric)) AS curve,
           arg_max(train_loss, epoch) AS last_train_loss
    FROM epochs
    GROUP BY study_id, trial_key
    HAVING count(train_loss) = count(*))
SELECT study_id, mode, workload, method, weight_bits, activation_bits,
       string_agg(DISTINCT optimizer, ', ' ORDER BY optimizer) AS optimizers, count(DISTINCT optimizer) AS n_optimizers,
       count(DISTINCT config_id) AS n_configurations, count(DISTINCT seed) AS n_seeds, count(*) AS n, c.epochs,
       last_train_loss, string_agg(trial_key, ', ' ORDER BY trial_key) AS trial_keys
FROM whole_trials JOIN curves c USING (file_id, trial_key)
WHERE ended
GROUP BY study_id, mode, workload, method, weight_bits, activation_bits, c.epochs, curve, last_train_loss
HAVING count(DISTINCT (config_id, seed)) > 1
ORDER BY study_id, workload, weight_bits DESC, activation_bits DESC, method, n_optimizers DESC, trial_keys
