"""Columns of an epoch's row that come from evaluations: a number that is not finite is unknown."""

import json
import math
from typing import Any

from tune_qat.data.task import Evaluation


def known(value: float | None) -> float | None:
    """Return a finite number as it is, and None for anything else."""
    return value if value is not None and math.isfinite(value) else None


def tested_columns(tested: Evaluation | None) -> dict[str, Any]:
    """Return the columns of an evaluation of the test split; none without one."""
    if tested is None:
        return {}
    images = tested.images
    return {
        "test_metric": known(tested.metric),
        "test_top5": known(tested.top5),
        "test_loss": known(tested.loss),
        "test_n": tested.n,
        "test_correct": tested.correct,
        "test_images_json": None if images is None else json.dumps([known(value) for value in images]),
    }
