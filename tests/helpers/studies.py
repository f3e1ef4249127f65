"""A study small enough for a test: LeNet-5 on a few digits."""

from typing import Any

from tune_qat.study import Study


def tiny_study(**changes: Any) -> Study:
    """Every stage, two optimizers, two bit widths; `changes` replace whole sections."""
    values: dict[str, Any] = {
        "name": "tiny",
        "workload": {"model": "lenet5", "dataset": "digits", "options": {"train_limit": 128}},
        "quantization": {"bits": [[32, 32], [4, 4]]},
        "training": {"epochs": 3},
        "pretrain": {"batch_size": 32, "epochs": 2},
        "space": {"optimizers": ["adam", "sgd_clip"], "batch_size": {"low": 16, "high": 64}},
        "stages": {"default": True, "random": 1, "search": 3, "retrain": 2},
        "search": {"startup_trials": 2},
        "asha": {"grace_epochs": 1},
        "judgement": {"metric": "accuracy", "margin": 0.01},
    }
    return Study.model_validate({**values, **changes})


SMALL = {"pretrain": 1, "default": 1, "search": 3, "retrain": 2}
"""Trials of the study `small`, by stage."""


def small(epochs: int = 4) -> Study:
    """One arm, without random trials."""
    return tiny_study(
        name="small",
        quantization={"bits": [[4, 4]]},
        training={"epochs": epochs},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"search": 3, "retrain": 2},
    )
