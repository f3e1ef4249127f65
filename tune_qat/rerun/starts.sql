-- Pretrained starts of a study, those with the weights of this hash first.
SELECT trial_key, checkpoint_sha256 IS NOT DISTINCT FROM ? AS same
FROM trials WHERE stage = 'pretrain' AND study_id = ? ORDER BY same DESC
