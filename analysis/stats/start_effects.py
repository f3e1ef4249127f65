"""The start as a fixed factor: whether the start's optimizer changes a difference of two optimizers."""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import alphas, fixed, holm, level_of, references, welch
from analysis.stats.intervals import TWO_HUMPS, Numbers
from analysis.stats.retrained import WORKLOAD, Board, boards, chosen_pairs

COLUMNS = [
    *BOARD,
    *("optimizer", "other", "start", "other_start", "difference", "other_difference", "change", "ci_low", "ci_high"),
    *("p", "p_holm", "changes", "n", "other_n", "why", "metric", "unit", "margin"),
]


def start_effects(results: "Results | Answers") -> pd.DataFrame:
    """Compute for each pair of optimizers and of named starts how much the start changes their difference.

    Starts alternate over repeats. `difference` is that of the two optimizers over the `n` repeats from `start`, above 0
    where `optimizer` is better, `other_difference` over the `other_n` from `other_start`; `change` is the first minus
    the second, with Welch's 95 % interval, as the repeats of two starts are different ones. `changes`: `p_holm`,
    corrected over all rows of the study's workload, is at most its alpha. With few repeats a start only a large change
    is seen; that none is told does not say that there is none. No rows where starts have no names. Raises the errors of
    `analysis.open`.
    """
    asked = answers(results)
    reference, levels = references(asked), alphas(asked)
    rows = [
        {**board.columns, **row, "alpha": level_of(levels, board)}
        for board in boards(asked.frame("retrain_scores"))
        if board.unit == "repeat"
        for row in _of_board(board, fixed(reference, board))
    ]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(WORKLOAD, sort=False)["p"].transform(holm)
    table["changes"] = table["p_holm"] <= table["alpha"]
    return table[COLUMNS]


def _of_board(board: Board, reference: str | None) -> list[dict[str, object]]:
    starts = list(dict.fromkeys(name for name in board.starts if name is not None))
    first, second = chosen_pairs(board.optimizers, reference)
    differences = board.oriented[:, first] - board.oriented[:, second]
    rows: list[dict[str, object]] = []
    for start, other in combinations(starts, 2):
        of_one, of_other = (differences[np.array([name == each for name in board.starts])] for each in (start, other))
        found = welch(of_one, of_other).withheld(board.mixed[first] | board.mixed[second], TWO_HUMPS)
        for pair, (a, b) in enumerate(zip(first, second, strict=True)):
            rows.append(
                {
                    **{"optimizer": board.optimizers[a], "other": board.optimizers[b]},
                    **{"start": start, "other_start": other},
                    **{"difference": _mean(of_one[:, pair]), "other_difference": _mean(of_other[:, pair])},
                    **{"change": found.estimate[pair], "ci_low": found.low[pair], "ci_high": found.high[pair]},
                    **{"p": found.p[pair], "why": found.why[pair]},
                    **{"n": int((~np.isnan(of_one[:, pair])).sum())},
                    "other_n": int((~np.isnan(of_other[:, pair])).sum()),
                }
            )
    return rows


def _mean(values: Numbers) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
