"""A study on a simulated clock: its own queue, samplers and schedulers, with curves in place of training."""
