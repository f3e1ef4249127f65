"""Trials of the record as runs of other tools: TensorBoard, Weights & Biases, Optuna."""
