"""Optimizers that contain others as special cases, and a check that no special case is better than its general form."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from analysis.stats.comparisons import BETTER


class Inclusion(NamedTuple):
    """Pair of optimizers: the general one equals or approaches the special one at a value of one of its options."""

    special: str
    general: str
    option: str
    """Option of the general one; the inclusion holds only in studies that search it."""
    value: str
    """Value of the option at which it equals or approaches the special one."""


INCLUSIONS = (
    Inclusion("sgd", "sgd_momentum", "momentum", "0; a lower learning rate makes up for any other"),
    Inclusion("sgd", "nesterov", "momentum", "0; a lower learning rate makes up for any other"),
    Inclusion("sgd", "sgd_clip", "max_norm", "above every norm"),
    Inclusion("sgd", "sgd_agc", "clip_factor", "above every ratio of norms"),
    Inclusion("adam", "adamw", "weight_decay", "0"),
    Inclusion("adam", "ademamix", "alpha", "0"),
    Inclusion("adamw", "mars", "gamma", "0"),
    Inclusion("rmsprop", "adam", "beta1", "0"),
    Inclusion("rmsprop", "adamw", "beta1", "0"),
    Inclusion("sgd_momentum", "adam", "eps", "far above every gradient"),
    Inclusion("nesterov", "nadam", "eps", "far above every gradient"),
)
"""Known inclusions, after Choi et al., "On empirical comparisons of optimizers for deep learning", arXiv 1910.05446."""


def searched(space_json: str, optimizer: str) -> set[str]:
    """Return the options that an arm searches: those in its `space_json` whose range is more than a single point."""
    ranges: Mapping[str, Mapping[str, float]] = json.loads(space_json or "{}").get(optimizer, {})
    return {option for option, bounds in ranges.items() if bounds["low"] < bounds["high"]}


def checked(pairs: pd.DataFrame, searched_options: Mapping[str, set[str]]) -> tuple[list[Inclusion], pd.DataFrame]:
    """Return the inclusions that hold in a study's search space, and the rows of `comparisons` that violate one.

    A tuned optimizer should not lose to its own special case. Where it does significantly, after the correction, its
    search was too short, or its ranges too narrow.

    Args:
        pairs: rows of `comparisons` of one study.
        searched_options: options that each of its optimizers searched.
    """
    hold = [found for found in INCLUSIONS if found.option in searched_options.get(found.general, set())]
    hold = [found for found in hold if found.special in searched_options]
    better = set(zip(pairs["optimizer"], pairs["other"], strict=True)) & {(one.special, one.general) for one in hold}
    rows = [pair in better for pair in zip(pairs["optimizer"], pairs["other"], strict=True)]
    return hold, pairs[pd.Series(rows, index=pairs.index, dtype=bool) & (pairs["outcome"] == BETTER)]
