"""Pairwise comparisons of a board's optimizers: the difference of their test scores, and its significance."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.intervals import TWO_HUMPS, Estimates, Numbers, moments, t_intervals, with_intervals
from analysis.stats.retrained import WORKLOAD, Board, Indices, boards, chosen_pairs, stacked

BETTER, EQUIVALENT, UNTOLD = "better", "equivalent", "cannot be told apart"
COLUMNS = [
    *BOARD,
    *("optimizer", "other", "difference", "ci_low", "ci_high", "n", "paired_by", "p", "p_holm", "outcome"),
    *("better", "equivalent", "why"),
    *("metric", "unit", "sign", "margin"),
]
ALPHA = 0.05
"""Level of the tests of a study that fixes none."""
T = TypeVar("T")


def comparisons(results: "Results | Answers") -> pd.DataFrame:
    """Compare the optimizers of each board: `COLUMNS`, one row for each pair, the better mean first.

    All pairs, or with a reference that the study file names the pairs with it. `difference` is how much better
    `optimizer` is, in the metric's unit, at least 0 also where the metric is minimised, with its 95 % interval.
    `equivalent`: the interval lies within the study's margin of practical equivalence. `better`: `p_holm`, corrected
    for these pairs of the study's workload, is at most the study's alpha. Both can hold: a difference that is there and
    does not matter. `outcome` is one word for it: equivalent, else better, else cannot be told apart. `n` counts the
    pairs of values: seeds, or repeats where a study has several. A pair has no interval where some runs of either
    failed or collapsed and others did not. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    return compare(asked.frame("retrain_scores"), alphas(asked), references(asked))


def alphas(asked: Answers) -> dict[str, float]:
    """Return the level alpha that each study fixed for its tests before it ran."""
    return _fixed(asked, "alpha")


def references(asked: Answers) -> dict[str, str]:
    """Return the optimizer that each study compares all others with; a study without one compares every two."""
    return _fixed(asked, "reference")


def _fixed(asked: Answers, column: str) -> dict[str, Any]:
    """Return what each study fixed before it ran, also by the name of the whole study that it belongs to."""
    known = asked.frame("start").dropna(subset=[column])
    return dict(zip(known["whole"], known[column], strict=True)) | dict(
        zip(known["study_id"], known[column], strict=True)
    )


def compare(
    scores: pd.DataFrame, alpha: Mapping[str, float], reference: Mapping[str, str] = MappingProxyType({})
) -> pd.DataFrame:
    """Compute `comparisons` from the rows of `retrain_scores`, and the level and the reference of each study."""
    found = ((board, chosen_pairs(board.optimizers, fixed(reference, board))) for board in boards(scores))
    tables = [{**_pairs(board, *pairs), "alpha": level_of(alpha, board)} for board, pairs in found if len(pairs[0])]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return judged(stacked(tables))[COLUMNS]


def judged(pairs: pd.DataFrame) -> pd.DataFrame:
    """Add `p_holm`, corrected over all pairs of a workload, `better`, `equivalent` and `outcome` to the pairs."""
    pairs["p_holm"] = pairs.groupby(WORKLOAD, sort=False)["p"].transform(holm)
    margin = pairs["margin"].astype(float)
    within = (pairs["ci_low"] > -margin) & (pairs["ci_high"] < margin)
    pairs["better"], pairs["equivalent"] = pairs["p_holm"] <= pairs["alpha"], within
    pairs["outcome"] = np.where(within, EQUIVALENT, np.where(pairs["better"], BETTER, UNTOLD))
    return pairs


def fixed(values: Mapping[str, T], board: Board) -> T | None:
    """Return what the board's study fixed, or else the whole study that it belongs to; None where neither did."""
    return values.get(board.key[0], values.get(board.whole))


def level_of(alpha: Mapping[str, float], board: Board) -> float:
    """Return the level of the board's study, of its whole study, or the usual one."""
    found = fixed(alpha, board)
    return ALPHA if found is None else found


def holm(p: pd.Series) -> Numbers:
    """Compute Holm's corrected p values (1979); NaN stays NaN and is not counted, as that pair was not tested."""
    # Not statsmodels' multipletests, which runs a full garbage collection at every call.
    given = p.to_numpy(dtype=float)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    corrected = np.full(len(given), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def _pairs(board: Board, first: Indices, second: Indices) -> dict[str, Any]:
    a, b = board.oriented[:, first], board.oriented[:, second]
    paired = t_intervals(a - b, rounding=board.rounding)
    unlike = welch(a, b)
    unpaired = (paired.n < 2) & (unlike.n >= 2)
    found = paired.where(~unpaired, unlike).withheld(board.mixed[first] | board.mixed[second], TWO_HUMPS)
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


def welch(a: Numbers, b: Numbers) -> Estimates:
    """Compare the means of unpaired columns with Welch's test (Biometrika 1947); `n` is the smaller count."""
    (n_a, mean_a, variance_a), (n_b, mean_b, variance_b) = moments(a), moments(b)
    error_a, error_b = variance_a / np.maximum(n_a, 1), variance_b / np.maximum(n_b, 1)
    error, n = error_a + error_b, np.minimum(n_a, n_b)
    told = (n >= 2) & (error > 0)
    parts = error_a**2 / np.maximum(n_a - 1, 1) + error_b**2 / np.maximum(n_b - 1, 1)
    df = np.divide(error**2, parts, out=np.where(n < 2, 0.0, 1.0), where=told)
    return with_intervals(mean_a - mean_b, np.sqrt(error), df, n, same=error <= 0)
