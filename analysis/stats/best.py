"""Probability that an optimizer's mean is the best of its board."""

import numpy as np
from scipy.special import stdtr, stdtrit

from analysis.stats.intervals import Estimates, Numbers, moments, t_intervals

POINTS = 2000
"""Points at which each integrand is evaluated."""


def p_best(scores: Numbers) -> Numbers:
    """Compute the posterior probability that each column's mean is the largest.

    Each mean has Student's t posterior, `mean + sd / sqrt(n) * t(n - 1)`, from a flat prior on the mean and on the log
    of the spread (Gelman et al., Bayesian Data Analysis, 3.2). The posteriors are taken as independent: ignoring that
    columns share seeds makes the probabilities conservative. The integral of `density of i * product of the others'
    distributions` is the mean of a rising function of i's quantile, by the midpoint rule in 2000 steps: off by at most
    1 / 4000.

    Args:
        scores: (n, columns), the larger the better; NaN where a column has no score in a row.

    Returns:
        (columns,); NaN for a column without an interval, which is not compared.
    """
    found = t_intervals(scores)
    compared = np.flatnonzero([why is None for why in found.why])
    chance = np.full(scores.shape[1], np.nan)
    if len(compared) < 2:
        return chance
    mean, error, df = (part[compared] for part in _posteriors(found, scores))
    quantiles = (np.arange(POINTS) + 0.5) / POINTS
    for place, column in enumerate(compared):
        at = mean[place] + error[place] * stdtrit(df[place], quantiles)
        below = stdtr(df[:, None], (at - mean[:, None]) / error[:, None])
        chance[column] = np.delete(below, place, axis=0).prod(axis=0).mean()
    return chance


def _posteriors(found: Estimates, scores: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    n, mean, variance = moments(scores)
    return mean, np.sqrt(variance / np.maximum(n, 1)), (found.n - 1).astype(float)
