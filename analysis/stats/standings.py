"""Standings of a board's optimizers: mean with interval, groups that cannot be told apart, probability to be best."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.best import p_best
from analysis.stats.boards import ARM, BOUNDS, UNBOUNDED
from analysis.stats.comparisons import BETTER, comparisons
from analysis.stats.groups import letters
from analysis.stats.intervals import t_intervals
from analysis.stats.retrained import Board, boards, by_board, stacked

COLUMNS = [
    *ARM,
    *("mean", "ci_low", "ci_high", "n", "counts", "trials", "failed", "why", "letters", "p_best", "undominated"),
    *("metric", "unit", "sign", "margin", "trivial"),
]


def standings(results: "Results | Answers") -> pd.DataFrame:
    """Rank the optimizers of each board: `COLUMNS`, one row for each optimizer, the best mean first.

    `mean` is over the `n` seeds or repeats (`counts` says which) of its `trials`, of which `failed` count as the
    trivial score; its interval is cut to the unit's bounds, and `why` is the reason if there is none. Optimizers that
    share one of their `letters` cannot be told apart. `p_best` is the posterior probability of the best mean, among
    those with an interval and without a failed trial. `undominated`: no other is significantly better, so that it may
    be the best. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    return stand(asked.frame("retrain_scores"), comparisons(asked))


def stand(scores: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Compute `standings` from the rows of `retrain_scores` and of `comparisons`."""
    told = by_board(pairs[pairs["outcome"] == BETTER])
    tables = [_standings(board, told.get(board.key, pairs.iloc[:0])) for board in boards(scores)]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    counted = scores.groupby(ARM, dropna=False).agg(trials=("score", "size"), failed=("failed", "sum")).reset_index()
    return stacked(tables).merge(counted, on=ARM, how="left")[COLUMNS]


def _standings(board: Board, told: pd.DataFrame) -> dict[str, Any]:
    found = t_intervals(board.scores)
    order = np.argsort(-found.estimate * board.facts["sign"], kind="stable")
    names = [board.optimizers[index] for index in order]
    shared = letters(names, zip(told["optimizer"], told["other"], strict=True))
    beaten = set(told["other"])
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
        # The score of a failed trial lies far below the others, and a t posterior would reach as far above them.
        "p_best": p_best(np.where(board.lost, np.nan, board.oriented))[order],
        "undominated": np.array([name not in beaten for name in names]),
    }
