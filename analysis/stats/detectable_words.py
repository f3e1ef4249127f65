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
    told = []
    for row in rows.itertuples():
        which = f"{row.optimizer} and {row.other}" if row.pair == LEADERS else "the median pair"
        told.append(f"{amount(row.detectable, row.unit)} between {which}")
    if not told or (len(told) == 2 and rows["pairs"].iloc[0] == 1):
        told = told[:1]
    return f", where {FOUND} a difference of {' and one of '.join(told)}" if told else ""


def of_changes(rows: Sequence[Any], alpha: float, tests: int) -> str:
    """Return the clause for differences of differences, from their intervals.

    Args:
        rows: rows of `interaction` of one board that have an interval.
        alpha: level of the study.
        tests: number of tests that the level is corrected for.
    """
    if not rows:
        return ""
    widths = {(row.ci_high - row.ci_low) / 2: row for row in rows}
    half = median_low(widths)
    row = widths[half]
    sd = half * math.sqrt(row.n) / stdtrit(row.n - 1, (1 + LEVEL) / 2)
    return f", where {FOUND} a change of {amount(detectable(sd, row.n, alpha / tests), row.unit)} in the median pair"
