"""One-way random effects by restricted maximum likelihood: repeats, and seeds within them.

Value s of repeat r is mu + u_r + e_rs, with u ~ N(0, tau^2) and e ~ N(0, sigma^2). After Patterson and Thompson,
Biometrika 1971; the interval of tau is the profile likelihood's (Venzon and Moolgavkar, Applied Statistics 1988).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import chdtri

from analysis.stats.intervals import LEVEL, Numbers

FEW_REPEATS = "fewer than two repeats"
ONE_SEED = "one seed in every repeat: the spread of seeds is part of that of repeats"
SAME = "all values are the same"
WIDEST = 1e3
"""Largest ratio of tau to the spread of repeats' means that is tried; two repeats need a hundred."""


class Spread(NamedTuple):
    """Standard deviations of repeats and of seeds within them; NaN where `why` says the reason."""

    tau: float
    ci_low: float
    ci_high: float
    sigma: float
    why: str | None = None


def spread(repeats: Sequence[Sequence[float]] | Numbers) -> Spread:
    """Compute tau, its 95 % interval, and sigma, from the values of each repeat.

    Some repeat needs two values; the interval's lower end is 0 where the likelihood does not exclude it.
    """
    found = _summed(repeats)
    if len(found.sizes) < 2:
        return Spread(np.nan, np.nan, np.nan, np.nan, FEW_REPEATS)
    if found.sizes.max() < 2:
        return Spread(np.nan, np.nan, np.nan, np.nan, ONE_SEED)
    scale = float(np.std(np.concatenate([np.asarray(values, dtype=float) for values in repeats]), ddof=1))
    if not scale > 0 or not found.within > 0:
        return Spread(np.nan, np.nan, np.nan, np.nan, SAME)

    def lost(tau: float) -> float:
        return _profile(found, tau)[0]

    largest = WIDEST * scale
    tau = _least(found, scale)
    least, sigma = _profile(found, tau)
    limit = least + float(chdtri(1, 1 - LEVEL))
    low = 0.0 if lost(0.0) <= limit else float(brentq(lambda at: lost(at) - limit, 0.0, tau))
    high = float(brentq(lambda at: lost(at) - limit, tau, largest)) if lost(largest) > limit else np.inf
    return Spread(tau, low, high, sigma)


class _Sums(NamedTuple):
    sizes: Numbers
    means: Numbers
    within: float
    """Sum of squares around the repeats' means."""


def _summed(repeats: Sequence[Sequence[float]] | Numbers) -> _Sums:
    values = [np.asarray(repeat, dtype=float) for repeat in repeats if len(repeat)]
    means = np.array([repeat.mean() for repeat in values])
    within = sum(float(((repeat - mean) ** 2).sum()) for repeat, mean in zip(values, means, strict=True))
    return _Sums(np.array([len(repeat) for repeat in values], dtype=float), means, within)


def lost_likelihood(sums: _Sums, tau: float, sigma: float) -> float:
    """Compute -2 log of the restricted likelihood, up to a constant."""
    variances = tau**2 + sigma**2 / sums.sizes
    weights = 1 / variances
    mean = weights @ sums.means / weights.sum()
    own = sums.sizes.sum() - len(sums.sizes)
    total = own * 2 * np.log(sigma) + sums.within / sigma**2 + np.log(variances).sum()
    return float(total + np.log(weights.sum()) + weights @ (sums.means - mean) ** 2)


def _profile(sums: _Sums, tau: float) -> tuple[float, float]:
    """Return the least -2 log likelihood at this tau, and the sigma that has it."""
    own = sums.sizes.sum() - len(sums.sizes)
    guess = 0.5 * np.log(max(sums.within, np.finfo(float).tiny) / own)
    # With tau fixed, sigma lies within the seeds' own estimate and that of all values together.
    found = minimize_scalar(
        lambda log_sigma: lost_likelihood(sums, tau, np.exp(log_sigma)),
        bounds=(guess - 4, guess + 4 + np.log1p(_between(sums) / np.exp(guess))),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(found.fun), float(np.exp(found.x))


def _between(sums: _Sums) -> float:
    return float(np.std(sums.means) * np.sqrt(sums.sizes.max()))


def _least(sums: _Sums, scale: float) -> float:
    """Return the tau of the largest restricted likelihood; 0 where that is at the edge."""
    top = 10 * scale
    found = minimize_scalar(lambda tau: _profile(sums, tau)[0], bounds=(0, top), method="bounded")
    return 0.0 if _profile(sums, 0.0)[0] <= found.fun else float(found.x)
