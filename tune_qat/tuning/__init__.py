"""Study runs on Ray Tune: the missing trials, with an Optuna sampler and an ASHA scheduler for each arm."""
