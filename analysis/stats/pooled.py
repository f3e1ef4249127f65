"""Differences on one scale over several boards: each divided by its board's margin, so that 1 is one margin.

Boards are fixed ("on these boards"), repeats are random. Boards of one workload share what a repeat has drawn, and pair
by its number; boards of different workloads do not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.answers import Answers, Results, answers
from analysis.stats.comparisons import alphas, holm, level_of, references
from analysis.stats.contrasts import STEP_OPTIMIZER, STEP_RATE, Contrast, contrasts
from analysis.stats.intervals import LEVEL, TWO_HUMPS, Numbers, moments
from analysis.stats.words import amount

KEY = ["whole", "kind", "weight_bits", "activation_bits", "control_for", "optimizer", "other"]
COLUMNS = [
    *KEY,
    *("difference", "ci_low", "ci_high", "df", "p", "p_holm", "better", "p_equivalence", "equivalent"),
    *("boards", "pairs", "n", "counts", "natural", "why"),
]
NO_INTERVAL = "no two repeats that the boards of a workload share, or all values are the same"


class Pooled(NamedTuple):
    """Mean over boards with its interval and standard error, in margins; NaN where there is none."""

    difference: float
    ci_low: float
    ci_high: float
    df: float
    error: float


def pooled_differences(results: "Results | Answers") -> pd.DataFrame:
    """Compute contrasts over all boards of a whole study at the same bits, in margins: `COLUMNS`, a row for each.

    `kind` says of what: `at these bits`, the scores of two optimizers; `against 32/32`, their changes from 32/32
    (or from the control whose start was worsened);
    `step rate` and `step optimizer`, who moves the quantizers' steps: the own optimizer with a rate of its own minus
    one rate for both, and Adam minus the own optimizer, both with a rate of its own (for each optimizer of the weights,
    and for `all` that have these levels).

    `difference` is the mean over `boards`, above 0 where `optimizer` is better, with the 95 % interval of `pool`.
    `better`: p of 0, corrected after Holm over all rows of the whole study, is at most its alpha. `equivalent`: two
    one-sided tests against -1 and 1 are both at most alpha; `p_equivalence` is the larger of the two and not corrected.
    Both can hold. `n` is the smallest number of repeats or seeds (`counts`) of a board, `natural` the mean of each
    board in its own unit, `pairs` the number of distinct model-data pairs. Boards without a margin above 0 are left
    out. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    groups: dict[tuple[Any, ...], list[Contrast]] = {}
    for each in contrasts(asked.frame("retrain_scores"), references(asked)):
        if float(each.board.facts["margin"] or 0) > 0:
            board = each.board
            key = (board.whole, each.kind, *board.key[-2:], board.control_for, each.optimizer, each.other)
            groups.setdefault(key, []).append(each)
    levels = alphas(asked)
    rows = [_row(key, members, level_of(levels, members[0].board)) for key, members in groups.items()]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby("whole", sort=False)["p"].transform(holm)
    table["better"] = table["p_holm"] <= table["alpha"]
    table["equivalent"] = table["p_equivalence"] <= table["alpha"]
    return table[COLUMNS]


def pool(clusters: Mapping[Any, list[Numbers]]) -> Pooled:
    """Compute the mean over all boards, each counting alike, with its 95 % interval from repeats within boards.

    The boards of a cluster (a workload) pair by repeat: their mean is taken in each repeat that all of them have, and
    varies over these. Variances of clusters add, with Satterthwaite's degrees of freedom (Biometrics Bulletin 1946).

    Args:
        clusters: for each, the values of its boards, each (repeats,), NaN where a board lacks a repeat.
    """
    sizes = np.array([len(members) for members in clusters.values()], dtype=float)
    share = sizes / sizes.sum()
    found = [moments(np.stack(members).mean(axis=0)[:, None]) for members in clusters.values()]
    n, mean, variance = (np.concatenate(part) for part in zip(*found, strict=True))
    estimate = float(share @ mean)
    parts = share**2 * variance / np.maximum(n, 1)
    error = float(np.sqrt(parts.sum()))
    if (n < 2).any() or not error > 0:
        return Pooled(estimate, np.nan, np.nan, np.nan, np.nan)
    df = float(parts.sum() ** 2 / (parts**2 / (n - 1)).sum())
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    return Pooled(estimate, estimate - half, estimate + half, df, error)


def equivalence(found: Pooled) -> float:
    """Compute the p value of two one-sided t tests: that the mean is at most -1, or at least 1 (Schuirmann 1987)."""
    return float(max(stdtr(found.df, (limit - 1) / found.error) for limit in (found.difference, -found.difference)))


def _row(key: tuple[Any, ...], members: list[Contrast], alpha: float) -> dict[str, Any]:
    found, why = pool(in_margins(members)), None
    if any(each.mixed for each in members):
        found, why = found._replace(ci_low=np.nan, ci_high=np.nan, df=np.nan, error=np.nan), TWO_HUMPS
    elif np.isnan(found.error):
        why = NO_INTERVAL
    said, sign = dict(zip(KEY, key, strict=True)), 1
    if found.difference < 0 and said["kind"] not in (STEP_OPTIMIZER, STEP_RATE):
        said |= {"optimizer": said["other"], "other": said["optimizer"]}
        sign = -1
        found = found._replace(difference=-found.difference, ci_low=-found.ci_high, ci_high=-found.ci_low)
    return {
        **said,
        **found._asdict(),
        "p": float(2 * stdtr(found.df, -abs(found.difference) / found.error)),
        "p_equivalence": equivalence(found),
        "alpha": alpha,
        "boards": len(members),
        "pairs": len({each.board.key[2] for each in members}),
        "n": min(int((~np.isnan(each.values)).sum()) for each in members),
        "counts": " or ".join(sorted({f"{each.board.unit}s" for each in members})),
        "natural": "; ".join(_natural(each, sign) for each in members),
        "why": why,
    }


def _natural(each: Contrast, sign: int) -> str:
    known = each.values[~np.isnan(each.values)]
    mean = amount(sign * float(known.mean()), str(each.board.facts["unit"])) if len(known) else "none"
    workload, method = each.board.key[2:4]
    return " ".join(str(part) for part in (workload, method, each.board.init, mean) if part)


def in_margins(members: Sequence[Contrast]) -> dict[Any, list[Numbers]]:
    """Return the values of each workload's boards in margins, on all repeats that any of them has."""
    clusters: dict[Any, list[Numbers]] = {}
    for workload in dict.fromkeys(each.board.key[2] for each in members):
        mine = [each for each in members if each.board.key[2] == workload]
        numbers = sorted({number for each in mine for number in each.repetitions})
        clusters[workload] = [_of_board(each, numbers) for each in mine]
    return clusters


def _of_board(each: Contrast, numbers: list[int]) -> Numbers:
    known = dict(zip(each.repetitions, each.values, strict=True))
    return np.array([known.get(number, np.nan) for number in numbers]) / float(each.board.facts["margin"])
