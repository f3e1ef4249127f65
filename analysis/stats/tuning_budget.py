"""Tuning curves: expected and median best score after k random trials, with a band, and summaries in one number.

Only stage `random` is read: none of its trials is stopped early. One that diverged, failed or collapsed counts as the
trivial score. Where its points are drawn independently, the trials of an arm are its sample; points of a Sobol sequence
are not, and their curves come from repeats.
"""

import functools
import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.answers import Answers, Results, answers
from analysis.libraries import library
from analysis.stats.boards import ARM, BOARD, BOUNDS, UNBOUNDED, compared, in_order
from analysis.stats.intervals import LEVEL, Numbers, t_intervals
from analysis.stats.shared_draws import common_chances, prefix_chances, prefixes, shares_a_design
from tune_qat.config.statuses import RANDOM

LARGEST_BUDGET = 100
"""Most trials on a curve, however many there are."""
OF_MEDIAN, OVER_REPEATS = "of the median, all k together", "of the mean over repeats, each k"
INDEPENDENT, SAME_TRIALS, FIRST_POINTS = "independently", "the same trials", "the first points of each repeat"
SOBOL = "sobol"
_SIMULATED = 64
"""Largest n whose band is simulated; above, it is Kolmogorov and Smirnov's, since time and memory grow with n."""


def tuning_curves(results: Results | Answers) -> pd.DataFrame:
    """Compute the best validation score after `k` of an arm's `n` random trials, k = 1 .. n (100 at most).

    Columns: those of a board, optimizer, k, n, `expected_best` (V statistic), `median_best`, `ci_low` and `ci_high` (95
    % band of the median, for all k together), `informative`, `band`, metric, unit. An end of the band at the bound of
    the unit (0 or 1 for a fraction, infinite for dB) is NULL. `informative`: the band's better end is known; do not
    read the curve beyond that k. Where the points are those of a Sobol sequence, a repeat is one value at each k, the
    best of its first k points: mean and median over `n` repeats, and for each k by itself Student's t interval of the
    mean (`band` says which of the two it is); `informative` from two repeats on.
    """
    rows = []
    for arm, trials in random_trials(results).groupby(ARM):
        scores, sign, unit = trials["score"].to_numpy(float), int(trials["sign"].iloc[0]), trials["unit"].iloc[0]
        curve = sobol_curve(trials) if _is_sobol(trials) else tuning_curve(scores, sign, _bounds(unit, scores))
        rows.append(curve.assign(**dict(zip(ARM, arm, strict=True)), metric=trials["metric"].iloc[0], unit=unit))
    columns = [*ARM, "k", "n", "expected_best", "median_best", "ci_low", "ci_high", "informative", "band"]
    columns += ["metric", "unit"]
    return in_order(pd.concat(rows)[columns], "optimizer", "k") if rows else pd.DataFrame(columns=columns)


def tunability(results: Results | Answers) -> pd.DataFrame:
    """Summarise the expected best, weighted over budgets of 1 .. K trials (Sivaprasad et al., ICML 2020).

    `early` weighs budget k by K + 1 - k, `mean` all alike, `peak` K alone. K is the smallest n of the board, 100 at
    most: every optimizer of a board is judged at the same budgets.
    """
    columns = [*ARM, "n", "K", "early", "mean", "peak", "metric", "unit"]
    trials = random_trials(results)
    rows = []
    for board, group in trials.groupby(BOARD):
        budget = _common_budget(group)
        for optimizer, arm in group.groupby("optimizer"):
            sign = int(arm["sign"].iloc[0])
            best = sign * _expected(arm, budget)
            summary = [np.average(best, weights=np.arange(budget, 0, -1)), best.mean(), best[-1]]
            told = [arm["metric"].iloc[0], arm["unit"].iloc[0]]
            rows.append([*board, optimizer, len(arm), budget, *summary, *told])
    return in_order(pd.DataFrame(rows, columns=columns), "optimizer")


def probability_of_best(results: Results | Answers) -> pd.DataFrame:
    """Compute how often an optimizer is the best of its board after `k` random trials each (Sivaprasad et al., 2020).

    k = 1, 2, 4, ... up to half of the board's smallest n: draws of nearly all trials are nearly the same draw, and
    would make an uncertain choice look certain. `drawn` says how: independently for each optimizer; the same trials for
    all, where they share one design, as in studies of earlier versions; or the first k points of each repeat, where
    they are those of a Sobol sequence. No rows for a board of one optimizer or of fewer than 2 trials each.
    """
    rows = []
    for board, group in random_trials(results).groupby(BOARD):
        group = group.assign(objective=group["sign"] * group["score"])
        if group["optimizer"].nunique() < 2:
            continue
        for power in range(max(_common_budget(group) // 2, 0).bit_length()):
            won, how = _chances(group, 2**power)
            rows += [[*board, name, 2**power, chance, how] for name, chance in won.items()]
    return in_order(pd.DataFrame(rows, columns=[*ARM, "k", "probability", "drawn"]), "k", "optimizer")


def _chances(group: pd.DataFrame, k: int) -> tuple["pd.Series[float]", str]:
    """Return each optimizer's chance to hold the best after k trials, and how these are drawn."""
    if _is_sobol(group):
        return prefix_chances(group, k), FIRST_POINTS
    if shares_a_design(group):
        return common_chances(group, k), SAME_TRIALS
    arms = {name: arm["objective"].to_numpy(float) for name, arm in group.groupby("optimizer")}
    return pd.Series(chances_of_best(list(arms.values()), k), index=list(arms)), INDEPENDENT


def _is_sobol(trials: pd.DataFrame) -> bool:
    return bool((trials["design"] == SOBOL).any())


def _expected(arm: pd.DataFrame, budget: int) -> Numbers:
    """Return the expected best objective of one arm after 1 .. budget trials."""
    objectives = arm.assign(objective=arm["sign"] * arm["score"])
    if not _is_sobol(arm):
        return expected_best(objectives["objective"].to_numpy(float), np.arange(1, budget + 1))
    return np.array([np.nanmean(prefixes(objectives, k).to_numpy(float)) for k in range(1, budget + 1)])


def random_trials(results: Results | Answers) -> pd.DataFrame:
    """Return the trials of stage `random` in comparison mode that have a score."""
    scores = compared(answers(results).frame("tuning_scores"))
    return scores[(scores["stage"] == RANDOM) & scores["score"].notna()]


def sobol_curve(trials: pd.DataFrame) -> pd.DataFrame:
    """Compute the tuning curve of one arm from its repeats: columns as of `tuning_curve`.

    Args:
        trials: random trials of the arm, the points of a Sobol sequence in each repeat.
    """
    sign = int(trials["sign"].iloc[0])
    objectives = trials.assign(objective=sign * trials["score"])
    ks = np.arange(1, min(int(trials.groupby("repeat").size().min()), LARGEST_BUDGET) + 1)
    best = np.column_stack([prefixes(objectives, int(k)).to_numpy(float)[:, 0] for k in ks])
    found = t_intervals(sign * best)
    return pd.DataFrame(
        {
            "k": ks,
            "n": len(best),
            "expected_best": found.estimate,
            "median_best": np.median(sign * best, axis=0),
            "ci_low": found.low,
            "ci_high": found.high,
            "informative": len(best) > 1,
            "band": OVER_REPEATS,
        }
    )


def tuning_curve(scores: Numbers, sign: int, bounds: tuple[float, float]) -> pd.DataFrame:
    """Compute the tuning curve of one arm: columns as in `tuning_curves`, a row for each k up to n, 100 at most.

    Args:
        scores: final metric of each random trial.
        sign: 1 where larger is better, -1 where smaller is.
        bounds: smallest and largest possible score; infinite where there is none.
    """
    ks = np.arange(1, min(len(scores), LARGEST_BUDGET) + 1)
    worst, best = bounds if sign > 0 else (-bounds[1], -bounds[0])
    median, worse, better = median_band(sign * scores, ks, worst, best)
    worse[worse <= worst] = np.nan
    better[better >= best] = np.nan
    low, high = (worse, better) if sign > 0 else (-better, -worse)
    return pd.DataFrame(
        {
            "k": ks,
            "n": len(scores),
            "expected_best": sign * expected_best(sign * scores, ks),
            "median_best": sign * median,
            "ci_low": low,
            "ci_high": high,
            "informative": np.isfinite(better),
            "band": OF_MEDIAN,
        }
    )


def expected_best(objectives: Numbers, ks: NDArray[np.int64]) -> Numbers:
    """Compute the mean of the best of k objectives drawn with replacement, for each k (Dodge et al., EMNLP 2019)."""
    curve: Numbers = library("opda.nonparametric").EmpiricalDistribution(objectives).v_tuning_curve(ks)
    return curve


def median_band(
    objectives: Numbers, ks: NDArray[np.int64], worst: float, best: float
) -> tuple[Numbers, Numbers, Numbers]:
    """Compute the median of the best of k, and its simultaneous 95 % band: worse, better end (Lourie et al., 2024).

    It is the median, since a band of the mean is infinite wherever scores are unbounded. `worst` and `best` are the
    bounds of an objective.
    """
    distribution = library("opda.nonparametric").EmpiricalDistribution
    method = "ld_equal_tailed" if len(objectives) <= _SIMULATED else "ks"
    with warnings.catch_warnings():
        # With equal scores (diverged trials are all trivial) the band's coverage is above its level, never below.
        warnings.filterwarnings("ignore", "Duplicates detected", RuntimeWarning)
        lower, middle, upper = distribution.confidence_bands(
            objectives, LEVEL, worst, best, generator=_generator(len(objectives)), method=method, n_jobs=1
        )
    # The upper CDF has the smaller objectives.
    median, worse, better = (cdf.quantile_tuning_curve(ks) for cdf in (middle, upper, lower))
    return median, worse, better


def _bounds(unit: str, scores: Numbers) -> tuple[float, float]:
    """Return the bounds of the unit, or infinite ones where imported scores exceed them."""
    low, high = BOUNDS.get(unit, UNBOUNDED)
    return (low, high) if low <= scores.min() and scores.max() <= high else UNBOUNDED


@functools.cache
def _generator(_n: int) -> np.random.Generator:
    # One for each n: opda caches weights by generator, and they must not depend on earlier calls.
    return np.random.default_rng(0)


def chances_of_best(arms: list[Numbers], k: int) -> Numbers:
    """Compute each arm's probability to hold the best of all, if k of its objectives are drawn without replacement.

    This is exact, unlike a bootstrap: the best of k is at most v with chance C(#{x <= v}, k) / C(n, k). A tie of t
    arms counts 1/t for each, and 1/t is the integral of u^(t-1) over 0 .. 1, taken by Gauss and Legendre's rule, which
    is exact for polynomials of this degree.

    Args:
        arms: objectives (larger is better) of each arm, at least k of them.
        k: trials of each arm.
    """
    values = np.unique(np.concatenate(arms))
    at_most = np.stack([_best_at_most(np.sort(arm), values, k) for arm in arms])
    exactly = np.diff(at_most, prepend=0.0)
    nodes, weights = np.polynomial.legendre.leggauss(len(arms) // 2 + 1)
    chances = np.zeros(len(arms))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        below = at_most - (1 - node) * exactly
        for arm in range(len(arms)):
            others = np.delete(below, arm, axis=0).prod(axis=0)
            chances[arm] += weight * float(exactly[arm] @ others)
    return chances


def _best_at_most(ordered: Numbers, values: Numbers, k: int) -> Numbers:
    counts = np.searchsorted(ordered, values, side="right")
    steps = np.arange(k)
    chance: Numbers = (np.maximum(counts[:, None] - steps, 0) / (len(ordered) - steps)).prod(axis=1)
    return chance


def _common_budget(board: pd.DataFrame) -> int:
    # The points of a sequence go on within a repeat alone.
    by = ["optimizer", "repeat"] if _is_sobol(board) else ["optimizer"]
    return min(int(board.groupby(by).size().min()), LARGEST_BUDGET)
