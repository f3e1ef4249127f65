"""Clauses on what differences a study finds, for the sentences that speak of optimizers."""

import math
from collections.abc import Sequence
from statistics import median_low
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from analysis.stats.intervals import LEVEL
from analysis.stats.power import LEADERS, detectable
from analysis.stats.words import amount

FOUND = "8 of 10 such studies find"


def of_pairs(rows: pd.DataFrame) -> str:
    """Return the clause for a ranking from the board's rows of `detectable_differences`; empty without any."""
    told = dict[tuple[str, str], str]()
    for row in rows.itertuples():  # the leaders first; of few pairs they may be the median pair as well
        which = f"{row.optimizer} and {row.other}" if row.pair == LEADERS else "the median pair"
        told.setdefault((row.optimizer, row.other), f"{amount(row.detectable, row.unit)} between {which}")
    return f", where {FOUND} a difference of {' and one of '.join(told.values())}" if told else ""


def of_changes(rows: Sequence[Any], alpha: float, tests: int) -> str:
    """Return the clause for differences of differences, from their intervals.

    Args:
        rows: rows of `interaction` of one board that have an interval.
        alpha: level of the study.
        tests: number of tests that the level is corrected for.
    """
    if not rows:
        return ""
    row = _median(rows)
    told = amount(_detectable(row, row.n, alpha / tests), row.unit)
    return f", where {FOUND} a change of {told} in the median pair"


def of_margins(rows: Sequence[Any], alpha: float, tests: int) -> str:
    """Return the clause for differences over boards, in margins; arguments as `of_changes`, of `pooled_differences`."""
    row = _median(rows)
    # Degrees of freedom over boards are no whole number; fewer tell less.
    told = _detectable(row, int(row.df) + 1, alpha / tests) if row.df >= 1 else math.inf
    return f", where {FOUND} {told:.2g} margins in the median pair" if math.isfinite(told) else ""


def _median(rows: Sequence[Any]) -> Any:
    """Return the row whose interval has the median width."""
    widths = {row.ci_high - row.ci_low: row for row in rows}
    return widths[median_low(widths)]


def _detectable(row: Any, n: int, alpha: float) -> float:
    """Compute the detectable difference of a row, from the width of its t interval over n values."""
    half = (row.ci_high - row.ci_low) / 2
    return detectable(half * math.sqrt(n) / stdtrit(n - 1, (1 + LEVEL) / 2), n, alpha)
