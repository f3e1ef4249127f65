"""Probability that an optimizer's mean is the best of its board."""

import numpy as np

from analysis.stats.intervals import Numbers, t_intervals

DRAWS = 20_000
"""Draws from the posterior: a probability's standard error is 0.0036 at most."""
FEWEST = 2
"""Fewest repetitions that all compared columns share."""


def p_best(scores: Numbers, seed: int = 0) -> Numbers:
    """Compute the posterior probability that each column's mean is the largest.

    The means have the joint posterior `mean + sqrt(S / n) * t(n - 1)`, S being the covariance of the columns over the n
    rows that all of them have: each mean, and each difference of two, has the Student's t posterior of its t interval
    (flat priors; Gelman et al., Bayesian Data Analysis, 3.2 and 3.6). Columns that share seeds or repeats move together
    in it, as they did in the study; independent draws would make a sure choice look unsure. With fewer rows than
    columns S is singular, and the draws, weighted sums of the rows, lie in the space that the rows span.

    Args:
        scores: (n, columns), the larger the better; NaN where a column has no score in a row.
        seed: seed of the draws.

    Returns:
        (columns,); NaN for a column without an interval, which is not compared.
    """
    chance = np.full(scores.shape[1], np.nan)
    compared = np.flatnonzero([why is None for why in t_intervals(scores).why])
    rows = scores[:, compared]
    rows = rows[~np.isnan(rows).any(axis=1)]
    if len(compared) < 2 or len(rows) < FEWEST:
        return chance
    draws = _means(rows, np.random.default_rng(seed))
    chance[compared] = np.bincount(draws.argmax(axis=1), minlength=len(compared)) / DRAWS
    return chance


def _means(rows: Numbers, rng: np.random.Generator) -> Numbers:
    """Draw means of the columns, (draws, columns), from their joint posterior."""
    n, df = len(rows), len(rows) - 1
    mean = rows.mean(axis=0)
    # Normal weights of the centred rows have the covariance S (n - 1); one chi-square of all columns makes it a t.
    weights = rng.standard_normal((DRAWS, n)) / np.sqrt(rng.chisquare(df, (DRAWS, 1)) * n)
    drawn: Numbers = mean + weights @ (rows - mean)
    return drawn
