"""Power analysis: the smallest difference that a pair can detect, and the seeds or repeats that its margin needs."""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, stdtrit

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import ALPHA, alphas, fixed, level_of, references
from analysis.stats.intervals import Numbers, moments
from analysis.stats.retrained import WORKLOAD, Board, Indices, boards, chosen_pairs

POWER = 0.8
MOST_SEEDS = 1000
LARGEST_EFFECT = 1e9
"""Upper end of the search for an effect, in standard deviations; two seeds and 10,000 pairs need 1e5."""
STEPS = 4000
COLUMNS = [
    *BOARD,
    *("pair", "optimizer", "other", "difference", "pairs", "n", "sd", "alpha", "detectable", "detectable_alone"),
    *("n_for_margin", "margin", "unit"),
]
LEADERS, MEDIAN = "leader and runner-up", "median pair"


def detectable_differences(results: "Results | Answers") -> pd.DataFrame:
    """Compute the true difference of two optimizers that is detected in 8 of 10 studies like this one.

    Two rows for each board: its leader and runner-up (the two best means), and the pair whose differences have the
    median spread, over the pairs that are compared and have no failed or collapsed trial. Spreads of pairs lie far
    apart, and a pooled one is that of the worst. `sd` is the standard deviation of the pair's differences over its `n`
    common seeds or repeats, `difference` their mean (`optimizer` minus `other`, above 0 where that is better).
    `detectable` is at Holm's strictest level, the study's `alpha` over the number of `pairs` of its workload;
    `detectable_alone` is at alpha, for a single pair. `n_for_margin` is the number of seeds or repeats that makes
    `detectable` as small as the margin; NaN if it is above 1,000, or without a margin. Raises the errors of
    `analysis.open`.
    """
    asked = answers(results)
    levels, reference = alphas(asked), references(asked)
    scores = boards(asked.frame("retrain_scores"))
    made = [(board, chosen_pairs(board.optimizers, fixed(reference, board))) for board in scores]
    rows = [{**row, "alpha": level_of(levels, board)} for board, pairs in made for row in _of_board(board, *pairs)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    tested = table.drop_duplicates(BOARD).groupby(WORKLOAD)["pairs"].sum().rename("tested")
    corrected = table["alpha"] / table.join(tested, on=WORKLOAD)["tested"]
    told = zip(table["n"], table["sd"], table["alpha"], corrected, table["margin"].astype(float), strict=True)
    table[["detectable", "detectable_alone", "n_for_margin"]] = [
        (detectable(s, n, strict), detectable(s, n, alpha), seeds_for(s, margin, strict))
        for n, s, alpha, strict, margin in told
    ]
    return table[COLUMNS]


def power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """Compute the power of a two-sided t test of n differences whose mean is `effect` standard deviations from 0.

    This uses the definition of the noncentral t distribution, a mean over the standard deviations that n values may
    show. scipy's, and with it statsmodels' `TTestPower`, is NaN at the small levels of corrections for many pairs; the
    latter's solver then returns its first guess. The integrand falls with the standard deviation, so that 4,000 steps
    are off by 1 / 8000 at most.
    """
    limit, shift = stdtrit(n - 1, 1 - alpha / 2) * _spreads(n), effect * np.sqrt(n)
    return float(np.mean(ndtr(shift - limit) + ndtr(-shift - limit)))


@cache
def _spreads(n: int) -> Numbers:
    """Return quantiles, evenly spaced, of the sample standard deviation of n normal values over the true one."""
    spreads: Numbers = np.sqrt(chdtri(n - 1, (np.arange(STEPS) + 0.5) / STEPS) / (n - 1))
    return spreads


def detectable(sd: float, n: int, alpha: float = ALPHA) -> float:
    """Compute the true mean of n differences with this standard deviation that a t test detects with power 0.8."""
    return float(sd * brentq(lambda effect: power(effect, n, alpha) - POWER, 0, LARGEST_EFFECT))


def seeds_for(sd: float, difference: float, alpha: float = ALPHA) -> float:
    """Find the fewest seeds, 1,000 at most, with which `difference` is detectable; NaN if no such number is enough."""
    if not difference > 0 or power(difference / sd, MOST_SEEDS, alpha) < POWER:
        return np.nan
    return bisect_left(range(MOST_SEEDS + 1), POWER, lo=2, key=lambda n: power(difference / sd, n, alpha))


def _of_board(board: Board, first: Indices, second: Indices) -> Iterator[dict[str, object]]:
    """Yield the two pairs; none where no two arms without a failed trial share two repetitions that differ."""
    n, mean, variance = moments(board.oriented[:, first] - board.oriented[:, second])
    mixed = board.mixed[first] | board.mixed[second]
    useful = np.flatnonzero((n >= 2) & (variance > board.rounding**2) & ~mixed)
    whole = useful[~board.lost[first[useful]] & ~board.lost[second[useful]]]
    if not len(whole):
        return
    means = np.nanmean(board.oriented, axis=0)
    best = np.argsort(np.where(board.lost, -np.inf, means), kind="stable")[:-3:-1]
    middle = whole[np.argsort(variance[whole], kind="stable")[(len(whole) - 1) // 2]]
    found = {LEADERS: [pair for pair in whole if {first[pair], second[pair]} == set(best)], MEDIAN: [middle]}
    for name, pairs in found.items():
        for pair in pairs:
            turned = mean[pair] < 0
            a, b = (second[pair], first[pair]) if turned else (first[pair], second[pair])
            yield {
                **board.columns,
                "pair": name,
                "optimizer": board.optimizers[a],
                "other": board.optimizers[b],
                "difference": abs(float(mean[pair])),
                "pairs": len(useful),
                "n": int(n[pair]),
                "sd": float(np.sqrt(variance[pair])),
            }
