"""Ranks of optimizers over many workloads: mean ranks, Friedman's test, and pairwise comparisons after it.

A block is a workload, a pair of model and data. Boards of one workload at several bit widths, methods or starts are no
blocks of one another, and so are ranked apart, each family over its workloads. A block's value is the mean over retrain
seeds, which only repeat it. After Demsar, JMLR 2006, and Conover, Practical Nonparametric Statistics, 1999.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.libraries import library
from analysis.stats.boards import compared
from analysis.stats.intervals import Numbers

ALPHA = 0.05
BLOCKS = 6
"""Fewest workloads for a test: N blocks rank two optimizers alike by chance once in 2^(N - 1) studies, 32 for N = 6."""
OPTIMIZERS = 3
"""Fewest optimizers for Friedman's test."""
_DIGITS = 12
"""Decimals from which on means count as equal: those of the same scores in another order differ only there."""
FAMILY = ["init", "method", "weight_bits", "activation_bits"]
"""Columns that the blocks of one ranking share: kind of start, method (or control) and bits."""


class RankTest(NamedTuple):
    """Result of Friedman's test, and Nemenyi's critical difference; NaN where `reason` says why."""

    statistic: float
    p_value: float
    critical_difference: float
    """Difference of two mean ranks that is significant at 5 %, corrected for all pairs."""
    reason: str


RANKS = [*FAMILY, "optimizer", "mean_rank", "blocks", "optimizers", *RankTest._fields]
PAIRS = [*FAMILY, "a", "b", "difference", "p_value", "apart"]


def mean_ranks(results: Results | Answers) -> pd.DataFrame:
    """Compute the mean rank of each optimizer that every workload of a family has; 1 is best.

    Columns: those of a family (`init`, `method` and bits), optimizer, `mean_rank`, `blocks` (workloads), `optimizers`
    (how many are ranked), `statistic` and `p_value` of Friedman's test, `critical_difference`, `reason` (why there is
    no test, else empty). Two whose means are within the study's margin are tied.
    """
    tables = []
    for family, ranks in block_ranks(answers(results).frame("retrain_scores")).items():
        test = rank_test(ranks.to_numpy())
        found = {"optimizer": ranks.columns, "mean_rank": ranks.mean().to_numpy(float), "blocks": len(ranks)}
        table = pd.DataFrame(found).assign(optimizers=len(ranks.columns), **test._asdict())
        tables.append(_named(table, family).sort_values(["mean_rank", "optimizer"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=RANKS)


def rank_comparisons(results: Results | Answers) -> pd.DataFrame:
    """Compare every pair of ranked optimizers: the difference of mean ranks, and whether it is significant.

    Columns: those of a family, `a`, `b`, `difference` (mean rank of a minus that of b: below 0 where a is better),
    `p_value` (Conover's test, Holm's correction over all pairs of the family), `apart` (this p and Friedman's p are
    below 5 %). No rows where `mean_ranks` has a reason for no test.
    """
    tables = []
    for family, ranks in block_ranks(answers(results).frame("retrain_scores")).items():
        test = rank_test(ranks.to_numpy())
        if test.reason:
            continue
        p_values, means = pairwise_p_values(ranks), ranks.mean()
        ordered = list(means.sort_values(kind="stable").index)
        pairs = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
        rows = [(a, b, means[a] - means[b], p_values.loc[a, b]) for a, b in pairs]
        table = pd.DataFrame(rows, columns=PAIRS[len(FAMILY) : -1])
        tables.append(_named(table.assign(apart=(table["p_value"] < ALPHA) & (test.p_value < ALPHA)), family))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=PAIRS)


def block_ranks(scores: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Rank optimizers (columns) on workloads (rows), for each family: 1 is the best, ties share the mean rank.

    Only optimizers that every workload of the family has are ranked; boards of a single optimizer are left out. A
    workload in several studies counts once, by the mean of its ranks in each, since the studies repeat it.

    Args:
        scores: rows of `retrain_scores`; joint mode is left out.
    """
    told = compared(scores)
    told = told.assign(objective=told["sign"] * told["score"], margin=told["margin"].astype(float).fillna(0))
    found = {}
    for family, rows in told.groupby(FAMILY, dropna=False, sort=False):
        boards = rows.groupby(["study_id", "workload", "optimizer"])["objective"].mean().unstack()
        boards = boards[boards.notna().sum(axis=1) > 1].dropna(axis=1)
        if not len(boards) or len(boards.columns) < 2:
            continue
        margins = rows.groupby(["study_id", "workload"])["margin"].max().reindex(boards.index).to_numpy(float)
        ranks = pd.DataFrame(tied_ranks(boards.to_numpy(), margins), boards.index, boards.columns)
        found[tuple(family)] = ranks.groupby(level="workload").mean().rank(axis=1)
    return found


def tied_ranks(means: Numbers, margins: Numbers) -> Numbers:
    """Rank each row's values, the largest 1: a value's rank is 1, and 1 for each better and 1/2 for each tied other.

    Two values are tied within the row's margin. With a margin of 0 this is the mean rank of ties; the sum of ranks is
    the same with any margin. The same scores summed in another order differ in the last digits, and are tied too.

    Args:
        means: (rows, columns) without NaN.
        margins: (rows,).
    """
    ahead = means[:, None, :] - means[:, :, None]
    rounding = 10.0**-_DIGITS * np.maximum(1, np.abs(means).max(axis=1))
    limit = (margins + rounding)[:, None, None]
    ranks: Numbers = 0.5 + (ahead > limit).sum(axis=2) + 0.5 * (np.abs(ahead) <= limit).sum(axis=2)
    return ranks


def _named(table: pd.DataFrame, family: tuple[Any, ...]) -> pd.DataFrame:
    return table.assign(**dict(zip(FAMILY, family, strict=True)))[[*FAMILY, *table]]


def rank_test(ranks: Numbers) -> RankTest:
    """Compute Friedman's test of ranks, (blocks, optimizers), if there are enough of both.

    Nemenyi's critical difference is q_alpha sqrt(k (k + 1) / (6 N)) for k optimizers and N blocks.
    """
    blocks, optimizers = ranks.shape
    if optimizers < OPTIMIZERS:
        why = f"{optimizers} optimizers have scores on every workload, and a test of ranks needs {OPTIMIZERS}"
        return RankTest(math.nan, math.nan, math.nan, why)
    difference = _nemenyi_quantile(optimizers) * math.sqrt(optimizers * (optimizers + 1) / (6 * blocks))
    if blocks < BLOCKS:
        blocks_of = "1 workload" if blocks == 1 else f"{blocks} workloads"
        why = (
            f"{blocks_of}, and a test of ranks needs {BLOCKS}: mean ranks of "
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
