"""How large a difference the seeds of a study can tell, and how many seeds its margin takes."""

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
"""In standard deviations; two seeds and 10,000 pairs take 1e5."""
STEPS = 4000
COLUMNS = [*BOARD, "pairs", "n", "sd", "alpha", "detectable", "detectable_alone", "n_for_margin", "margin", "unit"]


def detectable_differences(results: "Results | Answers") -> pd.DataFrame:
    """A row for each board: the true difference that is told in 8 of 10 studies like this one.

    `sd` is the pooled standard deviation of the difference of two optimizers over their `n` seeds in common (the median
    number), over pairs of arms without a failed trial where there are any. `detectable` is at Holm's first level, the
    study's `alpha` over all pairs of its workload, which is what a difference may have to reach; `detectable_alone` is
    at alpha, for two optimizers alone. `n_for_margin` seeds make `detectable` as small as the margin; NaN: more than
    1,000, or no margin. Errors as of `analysis.open`.
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
    """Of a two-sided t test of n differences whose mean is `effect` standard deviations from 0.

    The noncentral t distribution as its definition, a mean over the spread that n values may show. scipy's, and with it
    statsmodels' `TTestPower`, is NaN at the levels that many pairs are corrected to, where the latter's solver then
    returns its first guess. Its integrand falls with the spread, so that 4,000 steps are off by 1 / 8000 at most.
    """
    limit, shift = stdtrit(n - 1, 1 - alpha / 2) * _spreads(n), effect * np.sqrt(n)
    return float(np.mean(ndtr(shift - limit) + ndtr(-shift - limit)))


@cache
def _spreads(n: int) -> Numbers:
    """Standard deviations that n normal values show, over the true one, at evenly spaced quantiles."""
    spreads: Numbers = np.sqrt(chdtri(n - 1, (np.arange(STEPS) + 0.5) / STEPS) / (n - 1))
    return spreads


def detectable(sd: float, n: int, alpha: float = ALPHA) -> float:
    """The true mean of n differences with this standard deviation that a t test tells from 0 with a power of 0.8."""
    return float(sd * brentq(lambda effect: power(effect, n, alpha) - POWER, 0, LARGEST_EFFECT))


def seeds_for(sd: float, difference: float, alpha: float = ALPHA) -> float:
    """The fewest seeds, 1,000 at most, with which `difference` is detectable; NaN where there are none."""
    if not difference > 0 or power(difference / sd, MOST_SEEDS, alpha) < POWER:
        return np.nan
    return bisect_left(range(MOST_SEEDS + 1), POWER, lo=2, key=lambda n: power(difference / sd, n, alpha))


def _of_board(board: Board) -> dict[str, object] | None:
    """Pairs, seeds and pooled standard deviation of a board; None where no two arms share two seeds."""
    first, second = pairs_of(len(board.optimizers))
    n, _, variance = moments(board.oriented[:, first] - board.oriented[:, second])
    useful = (n >= 2) & (variance > board.rounding**2)
    whole = useful & ~board.lost[first] & ~board.lost[second]
    among = whole if whole.any() else useful
    if not among.any():
        return None
    pooled = np.average(variance[among], weights=n[among] - 1)
    return {**board.columns, "pairs": int(useful.sum()), "n": int(np.median(n[among])), "sd": float(np.sqrt(pooled))}
