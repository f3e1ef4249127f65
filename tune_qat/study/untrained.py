"""Trials of a study that train nothing."""

from typing import Any

from tune_qat import optimizers
from tune_qat.config import TrialConfig

_MOVES_NOTHING = "sgd"
"""Name in the place of the trial's optimizer, of which no step is taken."""


def untrained(like: TrialConfig, **changes: Any) -> TrialConfig:
    """Resolve a trial that trains nothing, on the model, data, batch size and seeds of another one."""
    values: dict[str, Any] = {
        "model": like.model,
        "model_options": like.model_options,
        "dataset": like.dataset,
        "dataset_options": like.dataset_options,
        "task": like.task,
        "optimizer": _MOVES_NOTHING,
        "optimizer_options": optimizers.resolve_options(_MOVES_NOTHING, {}),
        "learning_rate": optimizers.get_spec(_MOVES_NOTHING).default_learning_rate,
        "batch_size": like.batch_size,
        "epochs": 1,
        "schedule": "constant",
        "seed": like.seed,
        "init_seed": like.init_seed,
        "sources": like.sources,
    }
    return TrialConfig(**{**values, **changes})
