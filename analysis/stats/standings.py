"""Standings of a board's optimizers: mean with interval, groups that cannot be told apart, probability to be best."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.best import p_best
from analysis.stats.boards import ARM, BOUNDS, UNBOUNDED
from analysis.stats.comparisons import BETTER, EQUIVALENT, UNTOLD, comparisons, fixed, references
from analysis.stats.groups import alikes, letters
from analysis.stats.intervals import TWO_HUMPS, t_intervals
from analysis.stats.retrained import Board, boards, by_board, stacked

COLUMNS = [
    *ARM,
    *("mean", "ci_low", "ci_high", "n", "counts", "trials", "failed", "collapsed", "why", "letters", "equivalents"),
    *("p_best", "undominated"),
    *("metric", "unit", "sign", "margin", "trivial"),
]


def standings(results: "Results | Answers") -> pd.DataFrame:
    """Rank the optimizers of each board: `COLUMNS`, one row for each optimizer, the best mean first.

    `mean` is over the `n` seeds or repeats (`counts` says which) of its `trials`, of which `failed` count as the
    trivial score, those that `collapsed` (completed, and learned nothing) among them; its interval is cut to the unit's
    bounds, and `why` is the reason if there is none. Two optimizers share one of their `letters` if and only if they
    cannot be told apart, and one of their numbers in `equivalents` if and only if they are equivalent; empty where the
    study compares with a reference alone. `p_best` is the posterior probability of the best mean, among those with an
    interval and without a failed trial. `undominated`: no other is significantly better, so that it may be the best.
    Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    return stand(asked.frame("retrain_scores"), comparisons(asked), references(asked))


def stand(
    scores: pd.DataFrame, pairs: pd.DataFrame, reference: Mapping[str, str] = MappingProxyType({})
) -> pd.DataFrame:
    """Compute `standings` from the rows of `retrain_scores` and of `comparisons`, and the reference of each study."""
    told = by_board(pairs[pairs["outcome"] != UNTOLD])
    tables = [
        _standings(board, told.get(board.key, pairs.iloc[:0]), every_pair=fixed(reference, board) is None)
        for board in boards(scores)
    ]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    counted = scores.groupby(ARM, dropna=False)
    counts = counted.agg(trials=("score", "size"), failed=("failed", "sum"), collapsed=("collapsed", "sum"))
    return stacked(tables).merge(counts.reset_index(), on=ARM, how="left")[COLUMNS]


def _standings(board: Board, told: pd.DataFrame, *, every_pair: bool) -> dict[str, Any]:
    found = t_intervals(board.scores).withheld(board.mixed, TWO_HUMPS)
    order = np.argsort(-found.estimate * board.facts["sign"], kind="stable")
    names = [board.optimizers[index] for index in order]
    # A letter joins what cannot be told apart, a number what is equivalent: two things that a reader must not mix up.
    equal = told[told["outcome"] == EQUIVALENT]
    shared = letters(names, _pairs(told)) if every_pair else dict.fromkeys(names, "")
    alike = alikes(names, _pairs(equal)) if every_pair else dict.fromkeys(names, "")
    beaten = set(told.loc[told["outcome"] == BETTER, "other"])
    least, most = BOUNDS.get(str(board.facts["unit"]), UNBOUNDED)
    return {
        **board.columns,
        "optimizer": np.array(names, dtype=object),
        "mean": found.estimate[order],
        "ci_low": np.maximum(found.low[order], least),
        "ci_high": np.minimum(found.high[order], most),
        "n": found.n[order],
        "counts": f"{board.unit}s",
        "why": found.why[order],
        "letters": np.array([shared[name] for name in names], dtype=object),
        "equivalents": np.array([alike[name] for name in names], dtype=object),
        # The score of a failed trial lies far below the others, and a t posterior would reach as far above them.
        "p_best": p_best(np.where(board.lost, np.nan, board.oriented))[order],
        "undominated": np.array([name not in beaten for name in names]),
    }


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(rows["optimizer"], rows["other"], strict=True)
