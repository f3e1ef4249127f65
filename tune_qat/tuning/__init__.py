"""Runs a study on Ray Tune: the only package that imports ray or optuna."""
