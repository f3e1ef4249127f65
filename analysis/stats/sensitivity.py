"""Sensitivity of an optimizer to its learning rate: the envelope of its best scores, and numbers for its shape.

Both are over default, random and search trials. One that diverged or failed counts as the trivial score; one that was
stopped early has no score here.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.answers import Answers, Results, answers
from analysis.libraries import library
from analysis.stats.boards import ARM, in_order
from analysis.stats.intervals import Numbers
from tune_qat.config.statuses import COMPLETED

STEP = 0.25
"""Width of a bin of the envelope, in decades of learning rate."""
NEAR_BEST = {"fraction": 0.01, "percent": 1.0, "dB": 0.2}
"""Largest loss that counts as near the best, by unit: a point of accuracy, a fifth of a dB."""
SMOOTHED = 6
"""Points of the envelope in LOWESS's window, a decade and a half; no line through fewer."""


def learning_rate_envelope(results: Results | Answers) -> pd.DataFrame:
    """Find the best validation score in each quarter decade of learning rate, over all other hyperparameters.

    Columns: those of a board, optimizer, `learning_rate` (of the best trial), `best`, `smooth` (LOWESS over log rate;
    NULL below 6 points), `n` scored trials of the quarter decade, metric, unit. After Shallue et al., JMLR 2019.
    """
    columns = [*ARM, "learning_rate", "best", "smooth", "n", "metric", "unit"]
    rows = []
    for arm, trials in _scored(results).groupby(ARM):
        sign = trials["sign"].iloc[0]
        shape = envelope(trials["learning_rate"].to_numpy(float), trials["objective"].to_numpy(float))
        line = sign * smooth(shape.log10_rate, shape.best)
        told = (trials["metric"].iloc[0], trials["unit"].iloc[0])
        points = zip(10**shape.log10_rate, sign * shape.best, line, shape.n, strict=True)
        rows += [(*arm, *point, *told) for point in points]
    return in_order(pd.DataFrame(rows, columns=columns), "optimizer", "learning_rate")


def learning_rate_sensitivity(results: Results | Answers) -> pd.DataFrame:
    """Measure the shape of each envelope.

    Columns: those of a board, optimizer, `n` scored trials, `best`, `best_learning_rate` (NULL where every trial
    failed), `default_learning_rate`, `near_best`, `basin_width` (decades of learning rate whose best score is within
    `near_best` of the best; NULL below two points of the envelope), `low_open` and `high_open` (still near the best at
    the lowest or highest rate tried: the basin is at least this wide), `mean_loss` (see `mean_loss`), `rate_ratio`
    (best rate over that of the optimizer's 32/32 arm), metric, unit.

    `near_best` is 0.01 of a fraction, 1 percent or 0.2 dB, and twice the study's margin in another unit; never below
    the margin, since the study declares scores within it equal.
    """
    columns = [*ARM, "n", "best", "best_learning_rate", "default_learning_rate", "near_best", "basin_width"]
    columns += ["low_open", "high_open", "mean_loss", "metric", "unit"]
    rows = [(*arm, *_shape(trials)) for arm, trials in _scored(results).groupby(ARM)]
    table = in_order(pd.DataFrame(rows, columns=columns), "optimizer")
    table.insert(table.columns.get_loc("metric"), "rate_ratio", _rate_ratio(table))
    return table


@dataclass(frozen=True)
class Envelope:
    """Points of an envelope, by increasing rate."""

    log10_rate: Numbers
    """Log10 of the learning rate of the best trial in each quarter decade."""
    best: Numbers
    """Objective of that trial: larger is better."""
    n: NDArray[np.int64]
    """Number of trials in the quarter decade."""


def envelope(rates: Numbers, objectives: Numbers) -> Envelope:
    """Find the best objective in each quarter decade that has a trial; among equal ones, the lowest rate."""
    trials = pd.DataFrame({"x": np.log10(rates), "y": objectives}).sort_values(["y", "x"], ascending=[False, True])
    groups = trials.groupby(np.round(trials["x"] / STEP))
    best = groups.first()
    return Envelope(best["x"].to_numpy(), best["y"].to_numpy(), groups.size().to_numpy())


def smooth(x: Numbers, y: Numbers) -> Numbers:
    """Compute LOWESS (Cleveland, JASA 1979) at each x, over the nearest 6 points; NaN below 6.

    It is without robust iterations: these would treat the drop to diverged rates as outliers.
    """
    if len(x) < SMOOTHED:
        return np.full(len(x), np.nan)
    lowess = library("statsmodels.nonparametric.smoothers_lowess").lowess
    line: Numbers = lowess(y, x, frac=SMOOTHED / len(x), it=0, return_sorted=False)
    return line


def basin_width(x: Numbers, y: Numbers, near: float) -> float:
    """Compute the length of x over which the line through the points is within `near` of its highest point.

    NaN below 2 points, or where `near` is NaN. Separate stretches are added: one poor trial in the middle does not
    halve a basin.
    """
    if len(x) < 2 or math.isnan(near):
        return math.nan
    high, low = np.maximum(y[:-1], y[1:]), np.minimum(y[:-1], y[1:])
    above = high - (y.max() - near)
    rise = high - low
    share = np.where(rise > above, np.divide(above, rise, out=np.zeros_like(rise), where=rise > 0), 1.0)
    return float(np.diff(x) @ np.clip(share, 0.0, 1.0))


def mean_loss(y: Numbers, trivial: float) -> float:
    """Compute the mean loss of the points to the best one; points worse than the trivial objective count as that.

    Each quarter decade counts once, however many trials a sampler spent on it. After Wortsman et al., ICLR 2024.
    """
    return float(np.mean(y.max() - np.fmax(y, trivial)))


def near_best(unit: str, margin: float) -> float:
    """Return the largest loss that counts as near the best; NaN where neither the unit nor a margin determines it."""
    return float(np.fmax(NEAR_BEST.get(unit, 2 * margin), margin))


def _scored(results: Results | Answers) -> pd.DataFrame:
    scores = answers(results).frame("tuning_scores")
    scores = scores[scores["score"].notna() & (scores["learning_rate"] > 0)]
    return scores.assign(objective=scores["sign"] * scores["score"])


def _shape(trials: pd.DataFrame) -> list[object]:
    first = trials.iloc[0]
    shape = envelope(trials["learning_rate"].to_numpy(float), trials["objective"].to_numpy(float))
    near = near_best(first["unit"], float("nan") if pd.isna(first["margin"]) else float(first["margin"]))
    floor = shape.best.max() - near
    done = trials[trials["status"] == COMPLETED]
    best = done["objective"].eq(shape.best.max())
    rate = done.loc[best, "learning_rate"].min() if best.any() else math.nan
    numbers = [len(trials), first["sign"] * shape.best.max(), rate, first["default_learning_rate"], near]
    edges = [bool(shape.best[0] >= floor), bool(shape.best[-1] >= floor)]
    width = basin_width(shape.log10_rate, shape.best, near)
    lost = mean_loss(shape.best, first["sign"] * first["trivial"])
    return [*numbers, width, *edges, lost, first["metric"], first["unit"]]


def _rate_ratio(table: pd.DataFrame) -> "pd.Series[float]":
    """Compute each quantized arm's best rate over that of its optimizer's 32/32 arm, which all methods share."""
    same = ["study_id", "mode", "workload", "optimizer"]
    control = (table["weight_bits"] == 32) & (table["activation_bits"] == 32)
    rates = table[control].groupby(same)["best_learning_rate"].first().rename("control")
    ratio = table["best_learning_rate"] / table.join(rates, on=same)["control"]
    return ratio.mask(control)
