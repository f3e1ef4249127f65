"""Scaling of the best learning rate and of the steps to a target with the batch size.

The best rate is over completed random trials: a sampler tries most where it has seen good scores, so that the best of
its trials follows from what it tried first, and default trials all have the same rate. A failed trial is never the best
of its batch size.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM, compared, in_order
from analysis.stats.intervals import LEVEL, Numbers
from tune_qat.config.statuses import COMPLETED, RANDOM

TRIALS = 5
"""Fewest completed trials for a batch size's best rate; with fewer, it only shows where they happened to lie."""
SIZES = 3
"""Fewest batch sizes for a fit."""
SIZES_WITH_INTERVAL = 4
RESAMPLES = 1000
_ENOUGH = f"batch sizes with {TRIALS} completed random trials or more"
LAWS = {"linear": 1.0, "square root": 0.5}
"""Exponents of the usual scaling rules: linear for SGD, square root for optimizers of Adam's family."""


class Exponent(NamedTuple):
    """Fitted line log10 rate = intercept + exponent x log10 batch size; NaN where `reason` says why."""

    exponent: float
    ci_low: float
    ci_high: float
    intercept: float
    reason: str


class CriticalBatch(NamedTuple):
    """Fitted curve S(B) = s_min (1 + b_crit / B); NaN where `reason` says why."""

    s_min: float
    b_crit: float
    reason: str


def rate_scaling(results: Results | Answers) -> pd.DataFrame:
    """Fit the exponent p of best learning rate ~ batch size ^ p, for each arm.

    Columns: those of a board, optimizer, `sizes` (batch sizes with 5 completed random trials or more), `n` (these
    trials), `exponent`, `ci_low`, `ci_high` (95 %, bootstrap over trials), `intercept`, `linear` and `square_root`
    (whether 1 and 0.5 lie in the interval), `reason` (why there is no exponent or no interval, else empty).
    """
    columns = [*ARM, "sizes", "n", "exponent", "ci_low", "ci_high", "intercept", "linear", "square_root", "reason"]
    rows = []
    for arm, trials in answers(results).frame("tuning_scores").groupby(ARM):
        trials = trials[trials["stage"] == RANDOM]
        done = trials[(trials["status"] == COMPLETED) & trials["score"].notna() & (trials["learning_rate"] > 0)]
        done = done[done.groupby("batch_size")["score"].transform("size") >= TRIALS]
        objective = (done["sign"] * done["score"]).to_numpy(float)
        fit = rate_exponent(done["batch_size"].to_numpy(float), done["learning_rate"].to_numpy(float), objective)
        known = not math.isnan(fit.ci_low)
        agree = [fit.ci_low <= law <= fit.ci_high if known else None for law in LAWS.values()]
        rows.append([*arm, done["batch_size"].nunique(), len(done), *fit[:4], *agree, fit.reason])
    return in_order(pd.DataFrame(rows, columns=columns), "optimizer")


def critical_batch_size(results: Results | Answers) -> pd.DataFrame:
    """Fit the steps to a target against the batch size, for each arm (McCandlish et al., arXiv 1812.06162).

    Columns: those of a board, optimizer, `sizes` (batch sizes at which a trial reached the target), `s_min` (steps that
    no batch size saves), `b_crit` (batch size at which twice as many are taken), `reason` (why a number is not known,
    else empty). Steps are the fewest over all other hyperparameters, at the ends of epochs (`steps_to_target`).
    """
    steps = compared(answers(results).frame("steps_to_target"))
    rows = []
    for arm, sizes in steps.groupby(ARM):
        reached = sizes[sizes["steps"].notna()]
        fit = critical_batch(reached["batch_size"].to_numpy(float), reached["steps"].to_numpy(float))
        rows.append([*arm, len(reached), *fit])
    return in_order(pd.DataFrame(rows, columns=[*ARM, "sizes", "s_min", "b_crit", "reason"]), "optimizer")


def rate_exponent(batch_sizes: Numbers, rates: Numbers, objectives: Numbers, seed: int = 0) -> Exponent:
    """Fit by least squares the log of the best rate at each batch size against the log of the batch size.

    The interval resamples the trials of each batch size, so that it includes how precisely they determine their best
    rate. Its measured coverage is in docs/statistics.md.

    Args:
        batch_sizes: batch size of each completed trial, (trials,); 5 trials or more of each size.
        rates: their learning rates.
        objectives: their final scores; larger is better.
        seed: seed of the resampling.
    """
    sizes = np.unique(batch_sizes)
    if len(sizes) < SIZES:
        why = f"{_ENOUGH}: {len(sizes)}, and a line needs {SIZES}"
        return Exponent(math.nan, math.nan, math.nan, math.nan, why)
    groups = [np.flatnonzero(batch_sizes == size) for size in sizes]
    centred = np.log10(sizes) - np.log10(sizes).mean()
    weights = centred / (centred @ centred)
    best = np.log10([rates[group[objectives[group].argmax()]] for group in groups])
    exponent = float(weights @ best)
    intercept = float(best.mean() - exponent * np.log10(sizes).mean())
    if len(sizes) < SIZES_WITH_INTERVAL:
        why = f"{_ENOUGH}: {len(sizes)}, and an interval needs {SIZES_WITH_INTERVAL}"
        return Exponent(exponent, math.nan, math.nan, intercept, why)
    generator = np.random.default_rng(seed)
    drawn = [group[generator.integers(len(group), size=(RESAMPLES, len(group)))] for group in groups]
    bests = [np.take_along_axis(draw, objectives[draw].argmax(axis=1)[:, None], axis=1)[:, 0] for draw in drawn]
    exponents = weights @ np.log10(rates[np.array(bests)])
    low, high = np.quantile(exponents, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Exponent(exponent, float(low), float(high), intercept, "")


def critical_batch(batch_sizes: Numbers, steps: Numbers) -> CriticalBatch:
    """Fit S(B) = s_min (1 + b_crit / B) with the least sum of squared relative errors.

    It is linear in s_min and s_min b_crit, both at least 0. A critical batch size outside the sizes that were tried is
    not returned: within these, steps then fall all the way, or hardly at all.

    Args:
        batch_sizes: distinct batch sizes.
        steps: fewest steps to the target at each, above 0.
    """
    if len(batch_sizes) < SIZES:
        why = f"batch sizes at which the target was reached: {len(batch_sizes)}, and a fit needs {SIZES}"
        return CriticalBatch(math.nan, math.nan, why)
    from scipy.optimize import nnls

    (floor, slope), _ = nnls(np.stack([1 / steps, 1 / (steps * batch_sizes)], axis=1), np.ones(len(steps)))
    if slope > floor * batch_sizes.max():
        why = f"steps fall up to the largest batch size of {batch_sizes.max():g}: the critical one lies above"
        return CriticalBatch(math.nan, math.nan, why)
    if slope < floor * batch_sizes.min():
        why = f"steps hardly fall from the smallest batch size of {batch_sizes.min():g} on: the critical one lies below"
        return CriticalBatch(float(floor), math.nan, why)
    return CriticalBatch(float(floor), float(slope / floor), "")
