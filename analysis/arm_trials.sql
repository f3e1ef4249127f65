-- Trials of an arm that fit its study as last run, beside the arm's reference points.
-- Left out: the shared start, trials of an earlier version of the study file (other recipe, data, start or quantizer),
-- and retrain trials of a configuration that is no longer the arm's best, nor a point of the front that it chose.
-- `collapsed`: completed, and no better than the constant predictor. It counts as a trial that diverged or failed does:
-- `validation_score` and `test_score` are then the trivial score of their split. A trial that was stopped has neither.
SELECT t.* REPLACE (t.optimizer || a.step_label AS optimizer), t.optimizer AS base_optimizer,
       a.mode, a.repeat, a.method, a.metric, a.unit, a.sign, a.margin,
       a.trivial_score, a.trivial_test_score, a.baselines_json, a.n_train, a.n_test, a.space_json,
       a.init, a.whole, a.start_name, a.step_optimizer, a.control, a.control_for, a.design, a.sampler_seed,
       t.status IN ('completed', 'stopped', 'diverged', 'oom', 'error') AS ended,
       t.stage IN ('default', 'random', 'search') AS tuning,
       t.status = 'completed' AND t.learned IS NOT DISTINCT FROM false AS collapsed,
       CASE WHEN t.status = 'completed' AND NOT collapsed THEN coalesce(t.val_metric, a.trivial_score)
            WHEN t.status <> 'stopped' THEN a.trivial_score END AS validation_score,
       CASE WHEN t.status = 'completed' AND NOT collapsed THEN coalesce(t.test_metric, a.trivial_test_score)
            WHEN t.status <> 'stopped' THEN a.trivial_test_score END AS test_score,
       -- Of the configuration that an arm chose by the means of its finalists, and not by its best trial.
       coalesce(a.planned_finalists > 0 AND t.config_id = a.best_config_id, false) AS of_chosen_finalist,
       -- Of the points of a front, which an arm with several objectives chose.
       coalesce(list_contains(json_extract_string(a.front_config_ids_json, '$[*]'), t.config_id), false) AS of_front,
       a.objectives_json,
       -- Taken over from a study that is here as well: to be left out where studies are summed.
       coalesce(t.taken_from IN (SELECT study_id || '/' || trial_key FROM trials), false) AS copied
FROM trials t JOIN board_arms a USING (study_id, arm_id)
WHERE t.epochs = a.max_epochs
  AND t.quantizer = a.quantizer
  -- An imported study says neither.
  AND t.params_json ->> '$.scheme.ste' IS NOT DISTINCT FROM a.ste
  AND CAST(t.params_json ->> '$.scheme.first_last_bits' AS INTEGER) IS NOT DISTINCT FROM a.first_last_bits
  -- Records from before there were recipes have none.
  AND (t.recipe_hash IS NULL OR a.recipe_hashes_json IS NULL
       OR list_contains(json_extract_string(a.recipe_hashes_json, '$[*]'), t.recipe_hash))
  AND t.data_fingerprint = a.data_fingerprint
  AND t.split_fingerprint = a.split_fingerprint
  -- While the shared start is being trained, which trials it fits is not known yet.
  AND (t.init_checkpoint_sha256 IS NOT DISTINCT FROM a.init_checkpoint_sha256
       OR (a.init = 'pretrain' AND a.init_checkpoint_sha256 IS NULL))
  -- An arm's choice is in the record once its study has been run to an end, however early.
  AND (t.stage <> 'retrain' OR a.best_config_id IS NULL OR t.config_id = a.best_config_id
       OR list_contains(json_extract_string(a.front_config_ids_json, '$[*]'), t.config_id))
