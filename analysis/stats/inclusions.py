"""Which optimizers contain others as special cases, and whether a special case came out better than its container."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from analysis.stats.comparisons import BETTER


class Inclusion(NamedTuple):
    """An optimizer that another one is, or comes close to, at a value of one of its options."""

    special: str
    general: str
    option: str
    """Of the general one: it contains the special one only where a study searches it."""
    value: str
    """What makes it the special one."""


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
"""After Choi et al., "On empirical comparisons of optimizers for deep learning", arXiv 1910.05446."""


def searched(space_json: str, optimizer: str) -> set[str]:
    """The options that an arm searches, of its `space_json`: whose range is more than a point."""
    ranges: Mapping[str, Mapping[str, float]] = json.loads(space_json or "{}").get(optimizer, {})
    return {option for option, bounds in ranges.items() if bounds["low"] < bounds["high"]}


def checked(pairs: pd.DataFrame, searched_options: Mapping[str, set[str]]) -> tuple[list[Inclusion], pd.DataFrame]:
    """The inclusions that a study's ranges allow for, and the rows of `comparisons` in which one is violated.

    A tuned optimizer should not lose to its own special case: where it does, beyond the interval and the correction,
    its search was too short, or its ranges too narrow.

    Args:
        pairs: of one study.
        searched_options: of each of its optimizers.
    """
    hold = [found for found in INCLUSIONS if found.option in searched_options.get(found.general, set())]
    hold = [found for found in hold if found.special in searched_options]
    better = set(zip(pairs["optimizer"], pairs["other"], strict=True)) & {(one.special, one.general) for one in hold}
    rows = [pair in better for pair in zip(pairs["optimizer"], pairs["other"], strict=True)]
    return hold, pairs[pd.Series(rows, index=pairs.index, dtype=bool) & (pairs["outcome"] == BETTER)]
