"""Best scores after k trials where draws are not independent: one design for all arms, or a sequence of points."""

import numpy as np
import pandas as pd

from analysis.stats.intervals import Numbers

DRAWS = 5_000
"""Draws of trials: a probability's standard error is 0.007 at most."""


def shares_a_design(trials: pd.DataFrame) -> bool:
    """Return whether all arms of a board drew the points of their random trials from one seed.

    Studies of earlier versions gave all arms of a repeat the same sampler seed, and so trial number i of each lies at
    the same place of its ranges.
    """
    seeds = trials.groupby(["repeat", "optimizer"])["sampler_seed"].agg(["nunique", "first"])
    if seeds["first"].isna().any() or (seeds["nunique"] != 1).any():
        return False
    return bool((seeds.groupby(level="repeat")["first"].nunique() == 1).all())


def common_chances(trials: pd.DataFrame, k: int, seed: int = 0) -> "pd.Series[float]":
    """Compute each optimizer's chance to hold the best of all, if the same k trials of the design are drawn for each.

    Args:
        trials: random trials of one board with `optimizer`, `repeat`, `trial_number` and `objective` (larger is
            better).
        k: trials of each, from those numbers that every optimizer has a score of. A number that an optimizer has
            twice, as studies of earlier versions may after they were widened, is no place of the design.
        seed: seed of the draws.
    """
    place = ["repeat", "trial_number"]
    once = trials[~trials.duplicated([*place, "optimizer"], keep=False)]
    wide = once.pivot(index=place, columns="optimizer", values="objective")
    wide = wide.reindex(columns=sorted(trials["optimizer"].unique())).dropna()
    values = wide.to_numpy(float)
    if len(values) < k:
        return pd.Series(np.nan, index=wide.columns)
    drawn = np.random.default_rng(seed).random((DRAWS, len(values))).argpartition(k - 1, axis=1)[:, :k]
    return pd.Series(_won(values[drawn].max(axis=1)), index=wide.columns)


def prefix_chances(trials: pd.DataFrame, k: int) -> "pd.Series[float]":
    """Compute the share of repeats in which an optimizer holds the best of all after the first k points of each."""
    best = prefixes(trials, k).dropna(axis=0)
    return pd.Series(_won(best.to_numpy(float)), index=best.columns)


def prefixes(trials: pd.DataFrame, k: int) -> pd.DataFrame:
    """Return the best objective of each repeat (rows) and optimizer after its first k points; NaN with fewer points.

    Of two with the same number, as a widened study of an earlier version may have, that with the smaller key is first.
    """
    ordered = trials.sort_values(["trial_number", "trial_key"])
    place = ordered.groupby(["repeat", "optimizer"]).cumcount()
    first = ordered[place < k].groupby(["repeat", "optimizer"])["objective"].agg(["max", "size"])
    return first["max"].where(first["size"] == k).unstack()


def _won(best: Numbers) -> Numbers:
    """Return how often each column is the largest of its row; t that tie count 1/t each."""
    if not len(best):
        return np.full(best.shape[1], np.nan)
    largest = best == best.max(axis=1, keepdims=True)
    share: Numbers = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return share
