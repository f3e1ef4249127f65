"""Ranks of optimizers over many blocks: mean ranks, Friedman's test, and pairwise comparisons after it.

A block is a workload, a method and a pair of bit widths; its value is the mean over retrain seeds, since seeds only
repeat a block. After Demsar, JMLR 2006, and Conover, Practical Nonparametric Statistics, 1999.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.libraries import library
from analysis.stats.boards import ARM, compared
from analysis.stats.intervals import Numbers

ALPHA = 0.05
BLOCKS = 6
"""Fewest blocks for a test: N blocks rank two optimizers alike by chance once in 2^(N - 1) studies, 32 for N = 6."""
OPTIMIZERS = 3
"""Fewest optimizers for Friedman's test."""
_DIGITS = 12
"""Decimals to which means are rounded: the same scores summed in another order differ only beyond these."""
BLOCK = ["workload", "method", "weight_bits", "activation_bits"]


class RankTest(NamedTuple):
    """Result of Friedman's test, and Nemenyi's critical difference; NaN where `reason` says why."""

    statistic: float
    p_value: float
    critical_difference: float
    """Difference of two mean ranks that is significant at 5 %, corrected for all pairs."""
    reason: str


def mean_ranks(results: Results | Answers) -> pd.DataFrame:
    """Compute the mean rank of each optimizer that every block has; 1 is best.

    Columns: optimizer, `mean_rank`, `blocks`, `optimizers` (how many are ranked), `statistic` and `p_value` of
    Friedman's test, `critical_difference`, `reason` (why there is no test, else empty).
    """
    ranks = block_ranks(answers(results).frame("retrain_scores"))
    test = rank_test(ranks.to_numpy())
    table = pd.DataFrame({"optimizer": ranks.columns, "mean_rank": ranks.mean().to_numpy(float), "blocks": len(ranks)})
    table = table.assign(optimizers=len(table), **test._asdict())
    return table.sort_values(["mean_rank", "optimizer"], ignore_index=True)


def rank_comparisons(results: Results | Answers) -> pd.DataFrame:
    """Compare every pair of ranked optimizers: the difference of mean ranks, and whether it is significant.

    Columns: `a`, `b`, `difference` (mean rank of a minus that of b: below 0 where a is better), `p_value` (Conover's
    test, Holm's correction over all pairs), `apart` (this p and Friedman's p are below 5 %). No rows where `mean_ranks`
    has a reason for no test.
    """
    ranks = block_ranks(answers(results).frame("retrain_scores"))
    columns = ["a", "b", "difference", "p_value", "apart"]
    test = rank_test(ranks.to_numpy())
    if test.reason:
        return pd.DataFrame(columns=columns)
    p_values, means = pairwise_p_values(ranks), ranks.mean()
    ordered = list(means.sort_values(kind="stable").index)
    pairs = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
    rows = [(a, b, means[a] - means[b], p_values.loc[a, b]) for a, b in pairs]
    table = pd.DataFrame(rows, columns=columns[:-1])
    return table.assign(apart=(table["p_value"] < ALPHA) & (test.p_value < ALPHA))


def block_ranks(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank optimizers (columns) in blocks (rows): 1 is the best, ties share the mean rank.

    Only optimizers that every board has are ranked; boards of a single optimizer are left out. A block in several
    studies counts once, by the mean of its ranks in each, since the studies repeat it.

    Args:
        scores: rows of `retrain_scores`; joint mode is left out.
    """
    told = compared(scores)
    means = told.assign(objective=told["sign"] * told["score"]).groupby(ARM)["objective"].mean().unstack()
    means = means[means.notna().sum(axis=1) > 1].dropna(axis=1)
    ranks = means.round(_DIGITS).rank(axis=1, ascending=False)
    return ranks.groupby(level=BLOCK).mean().rank(axis=1) if len(ranks) else pd.DataFrame(index=means.index)


def rank_test(ranks: Numbers) -> RankTest:
    """Compute Friedman's test of ranks, (blocks, optimizers), if there are enough of both.

    Nemenyi's critical difference is q_alpha sqrt(k (k + 1) / (6 N)) for k optimizers and N blocks.
    """
    blocks, optimizers = ranks.shape
    if optimizers < OPTIMIZERS:
        why = f"{optimizers} optimizers have scores in every block, and a test of ranks needs {OPTIMIZERS}"
        return RankTest(math.nan, math.nan, math.nan, why)
    difference = _nemenyi_quantile(optimizers) * math.sqrt(optimizers * (optimizers + 1) / (6 * blocks))
    if blocks < BLOCKS:
        blocks_of = "1 block" if blocks == 1 else f"{blocks} blocks"
        why = (
            f"{blocks_of} of workload, method and bits, and a test of ranks needs {BLOCKS}: mean ranks of "
            f"{optimizers} optimizers would have to differ by {difference:.2f}, and can differ by {optimizers - 1}"
        )
        return RankTest(math.nan, math.nan, math.nan, why)
    if (ranks == ranks[:, :1]).all():
        return RankTest(0.0, 1.0, difference, "")
    from scipy import stats

    found = stats.friedmanchisquare(*ranks.T)
    return RankTest(float(found.statistic), float(found.pvalue), difference, "")


@functools.cache
def _nemenyi_quantile(optimizers: int) -> float:
    from scipy import stats

    return float(stats.studentized_range.ppf(1 - ALPHA, optimizers, math.inf) / math.sqrt(2))


def pairwise_p_values(ranks: pd.DataFrame) -> pd.DataFrame:
    """Compute Conover's test after Friedman's for every pair of columns; p values are corrected after Holm.

    The test uses ranks alone: blocks have different units, and Wilcoxon's test would weigh dB against fractions.
    """
    conover = library("scikit_posthocs").posthoc_conover_friedman
    # The same order in every block leaves no error to divide by: t is infinite and p is 0, or 1 where all are tied.
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values: pd.DataFrame = conover(-ranks.reset_index(drop=True), p_adjust="holm")
    return p_values.fillna(1.0)
