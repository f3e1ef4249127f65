"""Pairwise comparisons of a board's optimizers: the difference of their test scores, and its significance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.intervals import Estimates, Numbers, moments, t_intervals, with_intervals
from analysis.stats.retrained import WORKLOAD, Board, Indices, boards, pairs_of, stacked

BETTER, EQUIVALENT, UNTOLD = "better", "equivalent", "cannot be told apart"
COLUMNS = [
    *BOARD,
    *("optimizer", "other", "difference", "ci_low", "ci_high", "n", "paired_by", "p", "p_holm", "outcome", "why"),
    *("metric", "unit", "sign", "margin"),
]
ALPHA = 0.05
"""Level of the tests of a study that fixes none."""


def comparisons(results: "Results | Answers") -> pd.DataFrame:
    """Compare all pairs of optimizers within each board: `COLUMNS`, one row for each pair, the better mean first.

    `difference` is how much better `optimizer` is, in the metric's unit, at least 0 also where the metric is minimised,
    with its 95 % interval. `outcome` is better, equivalent (the interval lies within the study's margin of practical
    equivalence), or cannot be told apart. `p_holm` is corrected over all pairs of the study's workload; `better` means
    that it is at most the study's alpha. `n` counts the pairs of values: seeds, or repeats where a study has several.
    Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    return compare(asked.frame("retrain_scores"), alphas(asked))


def alphas(asked: Answers) -> dict[str, float]:
    """Return the level alpha that each study fixed for its tests before it ran."""
    found = asked.frame("start")
    return {row.study_id: row.alpha for row in found.itertuples() if not pd.isna(row.alpha)}


def compare(scores: pd.DataFrame, alpha: Mapping[str, float]) -> pd.DataFrame:
    """Compute `comparisons` from the rows of `retrain_scores` and the level of each study."""
    tables = [_pairs(board) for board in boards(scores) if len(board.optimizers) > 1]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return judged(stacked(tables), alpha)[COLUMNS]


def judged(pairs: pd.DataFrame, alpha: Mapping[str, float]) -> pd.DataFrame:
    """Add `p_holm`, corrected over all pairs of a workload, and `outcome` to the pairs."""
    pairs["p_holm"] = pairs.groupby(WORKLOAD, sort=False)["p"].transform(holm)
    level = pairs["study_id"].map(alpha).fillna(ALPHA)
    margin = pairs["margin"].astype(float)
    within = (pairs["ci_low"] > -margin) & (pairs["ci_high"] < margin)
    pairs["outcome"] = np.where(within, EQUIVALENT, np.where(pairs["p_holm"] <= level, BETTER, UNTOLD))
    return pairs


def holm(p: pd.Series) -> Numbers:
    """Compute Holm's corrected p values (1979); NaN stays NaN and is not counted, as that pair was not tested."""
    # Not statsmodels' multipletests, which runs a full garbage collection at every call.
    given = p.to_numpy(dtype=float)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    corrected = np.full(len(given), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def _pairs(board: Board) -> dict[str, Any]:
    first, second = pairs_of(len(board.optimizers))
    a, b = board.oriented[:, first], board.oriented[:, second]
    paired = t_intervals(a - b, rounding=board.rounding)
    welch = _welch(a, b)
    unpaired = (paired.n < 2) & (welch.n >= 2)
    found = paired.where(~unpaired, welch)
    by = np.where(unpaired, "nothing (Welch)", board.unit)
    return {**better_first(found, board.optimizers, first, second, by), **board.columns}


def better_first(
    found: Estimates, optimizers: list[str], first: Indices, second: Indices, paired_by: str | npt.NDArray[np.str_]
) -> dict[str, Any]:
    """Return a table's columns with `difference` at least 0: a negative one swaps names and ends of the interval."""
    names = np.array(optimizers, dtype=object)
    turned = found.estimate < 0
    by = np.full(len(turned), paired_by, dtype=object)
    by[np.isnan(found.p)] = None
    return {
        "optimizer": np.where(turned, names[second], names[first]),
        "other": np.where(turned, names[first], names[second]),
        "difference": np.abs(found.estimate),
        "ci_low": np.where(turned, -found.high, found.low),
        "ci_high": np.where(turned, -found.low, found.high),
        "n": found.n,
        "paired_by": by,
        "p": found.p,
        "why": found.why,
    }


def _welch(a: Numbers, b: Numbers) -> Estimates:
    """Compare the means of unpaired columns with Welch's test (Biometrika 1947); `n` is the smaller count."""
    (n_a, mean_a, variance_a), (n_b, mean_b, variance_b) = moments(a), moments(b)
    error_a, error_b = variance_a / np.maximum(n_a, 1), variance_b / np.maximum(n_b, 1)
    error, n = error_a + error_b, np.minimum(n_a, n_b)
    told = (n >= 2) & (error > 0)
    parts = error_a**2 / np.maximum(n_a - 1, 1) + error_b**2 / np.maximum(n_b - 1, 1)
    df = np.divide(error**2, parts, out=np.where(n < 2, 0.0, 1.0), where=told)
    return with_intervals(mean_a - mean_b, np.sqrt(error), df, n, same=error <= 0)
