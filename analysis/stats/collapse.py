"""Collapse: how often an arm fails or learns nothing, and what its other runs reach.

Scores of an arm that collapses now and then lie on two humps: their mean is between the two, where no run is, and a t
interval of it means nothing. So collapse is an endpoint of its own, a count with its interval.
"""

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM
from analysis.stats.intervals import wilson
from analysis.stats.retrained import Board, boards

TRIMMED = 0.25
"""Share of the repetitions that the interquartile mean leaves out at either end."""
COLUMNS = [
    *ARM,
    *("collapsed", "n", "counts", "share", "ci_low", "ci_high", "collapsed_runs", "runs"),
    *("mean_of_others", "median", "interquartile_mean", "metric", "unit", "trivial"),
]


def collapses(results: "Results | Answers") -> pd.DataFrame:
    """Count for each arm the repeats, or seeds where there is one repeat, in which a run failed or learned nothing.

    `collapsed` of `n` (`counts` says of what), with the `share` and its 95 % interval (Wilson); `collapsed_runs` of
    `runs` counts single runs. `mean_of_others` is over the repetitions without such a run, NaN where there is none;
    `median` and `interquartile_mean` are over all `n`, in which such a run counts as the trivial score. A run fails
    where it diverged, ran out of memory or has no test metric, and learns nothing where its validation metric is no
    better than the constant predictor's. Raises the errors of `analysis.open`.
    """
    scores = answers(results).frame("retrain_scores")
    rows = [row for board in boards(scores) for row in _of_board(board)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    counted = scores.groupby(ARM, dropna=False).agg(runs=("score", "size"), collapsed_runs=("failed", "sum"))
    return table.merge(counted.reset_index(), on=ARM, how="left")[COLUMNS]


def _of_board(board: Board) -> list[dict[str, object]]:
    from scipy import stats

    rows: list[dict[str, object]] = []
    for column, optimizer in enumerate(board.optimizers):
        known = ~np.isnan(board.scores[:, column])
        scores, fallen = board.scores[known, column], board.fallen[known, column]
        collapsed, n = int(fallen.sum()), len(scores)
        low, high = wilson(collapsed, n) or (np.nan, np.nan)
        rows.append(
            {
                **board.columns,
                "optimizer": optimizer,
                "collapsed": collapsed,
                "n": n,
                "counts": f"{board.unit}s",
                "share": collapsed / n,
                "ci_low": low,
                "ci_high": high,
                "mean_of_others": scores[~fallen].mean() if collapsed < n else np.nan,
                "median": np.median(scores),
                "interquartile_mean": stats.trim_mean(scores, TRIMMED),
            }
        )
    return rows
