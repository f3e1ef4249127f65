"""Aggregate scores over many workloads: interquartile means, probability of improvement, time to a target.

After Agarwal et al., "Deep RL at the edge of the statistical precipice", NeurIPS 2021. Scores are normalised: 0 is the
trivial score, 1 the best floating-point arm of the study. A run that diverged counts as 0 and is never dropped.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.intervals import FEWEST_RUNS, Numbers, Statistic, bootstrap_interval
from analysis.stats.retrained import Board, boards

SCHEME = ["init", "method", "weight_bits", "activation_bits"]
"""Columns whose groups are aggregated over workloads: fine-tuning and training from scratch are never one."""
TRIMMED = 0.25
"""Share of the runs that is cut off at either end."""
NO_CONTROL = "no 32/32 arm of the study beats the trivial score: scores cannot be normalised"
FEW_RUNS = f"a workload has fewer than {FEWEST_RUNS} runs: no interval"
NO_SPREAD = "every resample of the runs gives the same value: no interval"


def interquartile_means(results: Results | Answers) -> pd.DataFrame:
    """Compute the interquartile mean of all normalised runs over all workloads, by method, bits and optimizer.

    Columns: init, method, weight_bits, activation_bits, optimizer, `workloads`, `n` (runs), `iqm`, `ci_low`, `ci_high`
    (95 %, bootstrap of the runs of each workload), `reason` (why there is no number or no interval, else empty). The
    mean is over the workloads that the optimizer was run on; do not compare means over different ones.
    """
    runs: dict[tuple[Any, ...], list[Numbers]] = {}
    told = answers(results).frame("retrain_scores")
    tops = {board.key[:3]: _best_mean(board) for board in boards(told) if board.is_control}
    for board in boards(_once(told)):
        floor, top = board.facts["sign"] * board.facts["trivial"], tops.get(board.key[:3], np.nan)
        for optimizer, scores in _runs(board):
            blocks = runs.setdefault((board.init, *board.key[3:], optimizer), [])
            if top > floor:
                blocks.append((scores - floor) / (top - floor))
    rows = [[*key, len(blocks), sum(map(len, blocks)), *with_interval(blocks, iqms)] for key, blocks in runs.items()]
    return _table(rows, [*SCHEME, "optimizer", "workloads", "n", "iqm", "ci_low", "ci_high", "reason"], "optimizer")


def probabilities_of_improvement(results: Results | Answers) -> pd.DataFrame:
    """Compute the probability that a run of `a` beats a run of `b`, averaged over workloads; ties count half.

    Columns: init, method, weight_bits, activation_bits, a, b, `workloads` (that both were run on), `probability`,
    `ci_low`, `ci_high`, `reason` (why there is no interval, else empty). The probability of b over a is 1 minus this
    one.
    """
    runs: dict[tuple[Any, ...], list[Numbers]] = {}
    told = answers(results).frame("retrain_scores")
    own = {(*board.key, optimizer) for board in boards(_once(told)) for optimizer in board.optimizers}
    for board in boards(told):
        for (a, scores_of_a), (b, scores_of_b) in combinations(_runs(board), 2):
            if not {(*board.key, a), (*board.key, b)} & own:
                continue  # both were taken over from another study, which compares them already
            runs.setdefault((board.init, *board.key[3:], a, b), []).extend([scores_of_a, scores_of_b])
    rows = [[*key, len(blocks) // 2, *with_interval(blocks, improvements)] for key, blocks in runs.items()]
    return _table(rows, [*SCHEME, "a", "b", "workloads", "probability", "ci_low", "ci_high", "reason"], "a", "b")


def time_to_target_scores(results: Results | Answers) -> pd.DataFrame:
    """Compute AlgoPerf's score of each optimizer: mean over boards of `score` in `time_to_target`; 1 is always fastest.

    Columns: optimizer, `boards`, `score`. Optimizers that some board lacks are left out. After Dahl et al., arXiv
    2306.07179: performance profiles integrated over time ratios from 1 to 4, max(0, (4 - ratio) / 3) for each board.
    """
    times = _once(answers(results).frame("time_to_target"))
    wide = times.pivot(index=BOARD, columns="optimizer", values="score").dropna(axis=1)
    table = pd.DataFrame({"optimizer": wide.columns, "boards": len(wide), "score": wide.mean().to_numpy(float)})
    return table.sort_values(["score", "optimizer"], ascending=[False, True], ignore_index=True)


def iqms(blocks: Sequence[Numbers]) -> Numbers:
    """Compute the mean of the middle half of all runs of all blocks; the quarter cut off at either end rounds down.

    Args:
        blocks: (resamples, runs) of each workload.

    Returns:
        (resamples,).
    """
    from scipy import stats

    means: Numbers = stats.trim_mean(np.concatenate(blocks, axis=1), TRIMMED, axis=1)
    return means


def improvements(blocks: Sequence[Numbers]) -> Numbers:
    """Compute P(A > B) + P(A = B) / 2: the mean over workloads of Mann and Whitney's U / (n m).

    Args:
        blocks: (resamples, runs) of A and of B on the first workload, on the second, and so on; larger is better.

    Returns:
        (resamples,).
    """
    won = []
    for a, b in zip(blocks[::2], blocks[1::2], strict=True):
        more = np.sign(a[:, :, None] - b[:, None, :])
        won.append((more.mean(axis=(1, 2)) + 1) / 2)
    chances: Numbers = np.mean(won, axis=0)
    return chances


def with_interval(blocks: Sequence[Numbers], statistic: Statistic) -> list[Any]:
    """Return the estimate, both ends of its interval, and the reason why any of them is missing, else an empty text."""
    if not blocks:
        return [np.nan, np.nan, np.nan, NO_CONTROL]
    estimate = float(statistic([block[None, :] for block in blocks])[0])
    found = bootstrap_interval([list(block) for block in blocks], statistic)
    if found is None or found[0] == found[1]:
        return [estimate, np.nan, np.nan, FEW_RUNS if found is None else NO_SPREAD]
    return [estimate, *found, ""]


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without those of runs that another study of the results has a row of as well."""
    return rows[~rows["copied"].astype(bool)]


def _runs(board: Board) -> list[tuple[str, Numbers]]:
    """Return the objectives of each optimizer, without repetitions that its arm has not run yet."""
    columns = zip(board.optimizers, board.oriented.T, strict=True)
    return [(optimizer, column[~np.isnan(column)]) for optimizer, column in columns]


def _best_mean(control: Board) -> float:
    return float(np.nanmean(control.oriented, axis=0).max())


def _table(rows: list[list[Any]], columns: list[str], *last: str) -> pd.DataFrame:
    by = ["weight_bits", "activation_bits", "method", "init", *last]
    rising = [not column.endswith("_bits") for column in by]
    return pd.DataFrame(rows, columns=columns).sort_values(by, ascending=rising, ignore_index=True)
