"""Power analysis: the smallest difference that a study's seeds can detect, and the seeds that its margin needs."""

from bisect import bisect_left
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, stdtrit

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import ALPHA, alphas
from analysis.stats.intervals import Numbers, moments
from analysis.stats.retrained import WORKLOAD, Board, boards, pairs_of

POWER = 0.8
MOST_SEEDS = 1000
LARGEST_EFFECT = 1e9
"""Upper end of the search for an effect, in standard deviations; two seeds and 10,000 pairs need 1e5."""
STEPS = 4000
COLUMNS = [*BOARD, "pairs", "n", "sd", "alpha", "detectable", "detectable_alone", "n_for_margin", "margin", "unit"]


def detectable_differences(results: "Results | Answers") -> pd.DataFrame:
    """Compute for each board the true difference that is detected in 8 of 10 studies like this one.

    `sd` is the pooled standard deviation of the difference of two optimizers over their `n` common seeds (median
    number), over pairs of arms without a failed trial if there are any. `detectable` is at Holm's strictest level, the
    study's `alpha` over the number of pairs of its workload; `detectable_alone` is at alpha, for a single pair.
    `n_for_margin` is the number of seeds that makes `detectable` as small as the margin; NaN if it is above 1,000, or
    without a margin. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    levels = alphas(asked)
    rows = [row for board in boards(asked.frame("retrain_scores")) if (row := _of_board(board)) is not None]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    table["alpha"] = table["study_id"].map(levels).fillna(ALPHA)
    corrected = table["alpha"] / table.groupby(WORKLOAD)["pairs"].transform("sum")
    seeds, sd = table["n"], table["sd"]
    told = zip(seeds, sd, table["alpha"], corrected, table["margin"].astype(float), strict=True)
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


def _of_board(board: Board) -> dict[str, object] | None:
    """Return pairs, seeds and pooled standard deviation of a board; None where no two arms share two seeds."""
    first, second = pairs_of(len(board.optimizers))
    n, _, variance = moments(board.oriented[:, first] - board.oriented[:, second])
    useful = (n >= 2) & (variance > board.rounding**2)
    whole = useful & ~board.lost[first] & ~board.lost[second]
    among = whole if whole.any() else useful
    if not among.any():
        return None
    pooled = np.average(variance[among], weights=n[among] - 1)
    return {**board.columns, "pairs": int(useful.sum()), "n": int(np.median(n[among])), "sd": float(np.sqrt(pooled))}
