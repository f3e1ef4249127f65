"""Decimals of the scores of a board: as many as its intervals carry."""

import math

import pandas as pd

FEWEST = {"fraction": 1, "percent": 1, "dB": 2}
"""Decimals of a score without intervals, by unit."""
MOST = {"fraction": 2, "percent": 2, "dB": 2}
"""Most decimals, by unit: a finer difference matters to nobody."""
OTHERWISE = 4
"""Most decimals in any other unit."""


def decimals_of(rows: pd.DataFrame, unit: str) -> int:
    """Return the decimals that show one digit of the median half width of the intervals, of a fraction in percent.

    Args:
        rows: `mean`, `ci_low` and `ci_high`, in the metric's unit.
        unit: unit of the metric.
    """
    factor = 100 if unit == "fraction" else 1
    half = float(((rows["ci_high"] - rows["ci_low"]).astype(float) / 2).median()) * factor
    most = MOST.get(unit, OTHERWISE)
    if half > 0 and math.isfinite(half):
        return min(most, max(FEWEST.get(unit, 0), -math.floor(math.log10(half))))
    if unit in FEWEST:
        return FEWEST[unit]
    size = float(rows["mean"].abs().median())
    return 2 if not size > 0 else min(most, max(0, 2 - math.floor(math.log10(size))))
