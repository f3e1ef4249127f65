-- What all arms of a study share: data, splits, ranges, start, sampler and scheduler.
SELECT study_id, string_agg(DISTINCT data_fingerprint, ', ') AS data,
       string_agg(DISTINCT split_fingerprint, ', ') AS split,
       string_agg(DISTINCT space_hash, ', ') AS space, string_agg(DISTINCT init_checkpoint_sha256, ', ') AS start,
       any_value(n_train) AS n_train, any_value(n_val) AS n_val,
       any_value(n_test) AS n_test, string_agg(DISTINCT sampler, ', ') AS sampler,
       string_agg(DISTINCT scheduler, ', ') AS scheduler
FROM arms GROUP BY study_id
