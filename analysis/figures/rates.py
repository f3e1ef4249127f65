"""Axes of learning rates: as they are, or over each optimizer's default where these lie decades apart."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tune_qat.text.numbers import rate

DECADES = 10.0
"""Ratio of the largest to the smallest default from which rates are drawn over the default."""


def defaults_apart(trials: pd.DataFrame) -> Mapping[str, float]:
    """Return the default rate of each optimizer in rows of `tuning_scores`; nothing where rates are drawn as they are.

    That is where a default is not known, or where all lie within a decade.
    """
    found = trials.groupby("optimizer")["default_learning_rate"].first()
    if not len(found) or found.isna().any() or found.max() / found.min() < DECADES:
        return {}
    return {str(name): float(value) for name, value in found.items()}


def over(rates: pd.Series, optimizers: pd.Series, defaults: Mapping[str, float]) -> pd.Series:
    """Return rates over the default of their optimizer, or as they are where `defaults` is empty."""
    return rates / optimizers.map(defaults) if defaults else rates


def title(defaults: Mapping[str, float]) -> str:
    """Return the title of the axis."""
    return "learning rate over the optimizer's default" if defaults else "learning rate"


def ticks(values: pd.Series, defaults: Mapping[str, float], most: int = 4) -> dict[str, Any]:
    """Return `tickvals`, powers of ten, and `ticktext` of an axis that shows these rates."""
    low, high = math.ceil(math.log10(values.min()) - 0.3), math.floor(math.log10(values.max()) + 0.3)
    step = max(1, -(-(high - low) // most))
    # Counted from the default, which is then always among them.
    powers = [n for n in range(low, high + 1) if n % step == 0]
    words = [_relative(n) if defaults else rate(10.0**n) if -4 <= n <= 3 else f"1e{n}" for n in powers]
    return {"tickvals": [float(np.power(10.0, n)) for n in powers], "ticktext": words}


def _relative(power: int) -> str:
    times = str(10 ** abs(power)) if abs(power) < 4 else f"10<sup>{abs(power)}</sup>"
    return f"×{times}" if power >= 0 else f"÷{times}"
