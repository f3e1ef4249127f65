"""Data of a user's own, and a package of code that names it."""

from typing import Any

import numpy as np

from tests.helpers.own_code import write_code as write_code
from tune_qat import data
from tune_qat.data.own_arrays import dataset_of
from tune_qat.data.task import Dataset

NAME = "own_data:load"
CODE = '''
import numpy as np
from torch import nn


def load(n=120, classes=3, seed=0):
    """Points of `classes` clouds in eight dimensions."""
    random = np.random.default_rng(seed)
    centres = 3 * random.standard_normal((classes, 8))
    targets = np.arange(n) % classes
    inputs = centres[targets] + random.standard_normal((n, 8))
    test = slice(n - n // 4, n)
    return {"train": (inputs[: n - n // 4], targets[: n - n // 4]), "test": (inputs[test], targets[test])}


def build(model_input):
    features = model_input.shape[0]
    hidden = nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(16, model_input.classes))
'''


def arrays(n: int = 60, shape: tuple[int, ...] = (1, 6, 6), classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """Random uint8 inputs, and labels that take turns."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, *shape)).astype(np.uint8), np.arange(n) % classes


def made(found: Any, *, task: str = "", **options: Any) -> Dataset:
    """The dataset of what a user's function would give."""
    spec = data.get_spec(NAME, task)
    return dataset_of(spec, data.resolve_options(spec, options), found)
