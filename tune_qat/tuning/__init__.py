"""The engine: runs the missing trials of a study on Ray Tune, with a sampler and an ASHA for each arm."""
