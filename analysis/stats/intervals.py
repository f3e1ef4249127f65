"""Confidence intervals, and when there is none: Student's t, Wilson's, Clopper and Pearson's, the block bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtr, stdtrit

LEVEL = 0.95
"""Confidence level of every interval."""
FEWEST_RUNS = 10
"""Fewest runs in a block for the bootstrap: with fewer, its intervals are too narrow (coverage: docs/statistics.md)."""
TOO_FEW = "fewer than two values"
TWO_HUMPS = "some runs failed or collapsed, others did not"
ALL_THE_SAME = "all values are the same"

Numbers = npt.NDArray[np.floating[Any]]
Statistic = Callable[[Sequence[Numbers]], Numbers]


@dataclass(frozen=True, slots=True)
class Interval:
    """Estimate with its 95 % interval, or with the reason `why` there is none."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    why: str | None = None


class Estimates(NamedTuple):
    """Estimates of many columns, each with its 95 % interval and the p value of 0, or with the reason `why` not."""

    estimate: Numbers
    low: Numbers
    high: Numbers
    n: npt.NDArray[np.int64]
    p: Numbers
    why: npt.NDArray[np.object_]
    """None where there is an interval; elsewhere `low`, `high` and `p` are NaN."""

    def where(self, chosen: npt.NDArray[np.bool_], other: "Estimates") -> "Estimates":
        """Take these where `chosen`, the other ones elsewhere."""
        return Estimates(*(np.where(chosen, mine, theirs) for mine, theirs in zip(self, other, strict=True)))

    def withheld(self, chosen: npt.NDArray[np.bool_], why: str) -> "Estimates":
        """Return the estimates without interval and p value where `chosen`; a reason that is there already stays."""
        low, high, p = (np.where(chosen, np.nan, part) for part in (self.low, self.high, self.p))
        missing = np.array([found is None for found in self.why]) & chosen
        return self._replace(low=low, high=high, p=p, why=np.where(missing, why, self.why))


def t_interval(values: Sequence[float]) -> Interval:
    """Compute the mean with Student's t interval (Student, Biometrika 1908); no interval below two distinct values."""
    found = t_intervals(np.asarray(values, dtype=float)[:, None])
    estimate, n, why = float(found.estimate[0]), int(found.n[0]), found.why[0]
    low, high = (None, None) if why else (float(found.low[0]), float(found.high[0]))
    return Interval(estimate, low, high, n, why)


def t_intervals(values: Numbers, *, rounding: float = 0.0) -> Estimates:
    """Compute the `t_interval` of every column.

    Values that are all the same have no interval: they are one run, repeated, and do not show the spread.

    Args:
        values: (n, columns); NaN where a column has no value in a row.
        rounding: rounding error of the subtraction that made the values; a spread up to it counts as none.
    """
    n, mean, variance = moments(values)
    spread = np.nanmax(values, axis=0, initial=-np.inf) - np.nanmin(values, axis=0, initial=np.inf)
    error = np.sqrt(variance / np.maximum(n, 1))
    return with_intervals(mean, error, n - 1.0, n, same=spread <= rounding)


def moments(values: Numbers) -> tuple[npt.NDArray[np.int64], Numbers, Numbers]:
    """Return each column's number of values, their mean (NaN for none) and their variance (0 below two)."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(known, values - mean, 0.0) ** 2
    return n, np.where(n > 0, mean, np.nan), squares.sum(axis=0) / np.maximum(n - 1, 1)


def with_intervals(
    estimate: Numbers, error: Numbers, df: Numbers, n: npt.NDArray[np.int64], *, same: npt.NDArray[np.bool_]
) -> Estimates:
    """Compute intervals from standard errors and degrees of freedom; none below 1, or if values are all the `same`."""
    told = (df >= 1) & ~same
    why = np.where(df < 1, TOO_FEW, ALL_THE_SAME).astype(object)
    why[told] = None
    df, error = np.where(told, df, np.nan), np.where(told, error, np.nan)
    half = stdtrit(df, (1 + LEVEL) / 2) * error
    return Estimates(estimate, estimate - half, estimate + half, n, 2 * stdtr(df, -np.abs(estimate) / error), why)


def wilson(successes: int, n: int) -> tuple[float, float] | None:
    """Compute the interval of a proportion, `successes` / n (Wilson, JASA 1927); None where n is 0."""
    from scipy.stats import binomtest

    if n == 0:
        return None
    found = binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def clopper_pearson(successes: int, n: int) -> tuple[float, float] | None:
    """Compute the exact interval of a proportion (Clopper and Pearson, Biometrika 1934); None where n is 0."""
    if n == 0:
        return None
    tail = (1 - LEVEL) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def bootstrap_interval(
    blocks: Sequence[Sequence[float]], statistic: Statistic, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Compute a percentile interval by resampling runs within each block (Efron 1979; Agarwal et al., NeurIPS 2021).

    Args:
        blocks: the runs of each block; blocks themselves are never resampled.
        statistic: function of the blocks, each an array (resamples, its runs); returns (resamples,).
        resamples: number of resamples.
        seed: seed of the resampling.

    Returns:
        None where a block has fewer than ten runs, or where there is no block.
    """
    if not blocks or min(map(len, blocks)) < FEWEST_RUNS:
        return None
    return percentile(resampled(blocks, statistic, resamples=resamples, seed=seed))


def resampled(blocks: Sequence[Sequence[float]], statistic: Statistic, *, resamples: int, seed: int) -> Numbers:
    """Compute the statistic, (resamples,), of draws with replacement of as many runs as each block has."""
    rng = np.random.default_rng(seed)
    drawn = []
    for block in blocks:
        runs = np.asarray(block, dtype=float)
        drawn.append(runs[rng.integers(0, len(runs), (resamples, len(runs)))])
    return statistic(drawn)


def percentile(values: Numbers) -> tuple[float, float]:
    """Return the ends of the middle 95 % of the values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
