"""Simulation of a study (`tune-qat simulate`): a simulated clock, with recorded curves in place of training."""
