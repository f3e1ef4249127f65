-- Ended trials whose values a sampler proposed.
SELECT study_id, arm_id, stage, base_optimizer AS optimizer, learning_rate, batch_size, quantizer_lr_multiplier, params_json
FROM arm_trials WHERE ended AND stage IN ('random', 'search')
