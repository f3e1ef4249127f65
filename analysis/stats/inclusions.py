"""Optimizers that contain others as special cases, and a check that no special case is better than its general form."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.answers import Answers
from analysis.stats.boards import base
from analysis.stats.comparisons import BETTER

SPACES = "SELECT study_id, optimizer, any_value(space_json) AS space_json FROM whole_arms GROUP BY ALL ORDER BY ALL"
TRIED = """
    SELECT t.study_id, t.optimizer, t.trial_key, any_value(t.params_json) AS params_json,
           max(e.clip_fraction) AS clipped
    FROM whole_trials t JOIN epochs e ON e.study_id = t.file_id AND e.trial_key = t.trial_key
    WHERE t.tuning AND t.status = 'completed'
    GROUP BY ALL"""


class Inclusion(NamedTuple):
    """Pair of optimizers: the general one equals or approaches the special one at a value of one of its options."""

    special: str
    general: str
    option: str
    """Option of the general one; the inclusion holds only in studies that search it."""
    value: str
    """Value of the option at which it equals or approaches the special one."""
    least: float = 0.0
    most: float = np.inf
    """Ends of the option's values that count as a trial of the special case."""
    unclipped: bool = False
    """Whether instead a trial counts where none of its steps was clipped, whatever the option's value."""


INCLUSIONS = (
    Inclusion("sgd", "sgd_momentum", "momentum", "0; a lower learning rate makes up for any other", most=0.1),
    Inclusion("sgd", "nesterov", "momentum", "0; a lower learning rate makes up for any other", most=0.1),
    Inclusion("sgd", "sgd_clip", "max_norm", "above every norm", unclipped=True),
    Inclusion("sgd", "sgd_agc", "clip_factor", "above every ratio of norms", unclipped=True),
    Inclusion("adam", "adamw", "weight_decay", "0", most=1e-4),
    Inclusion("adam", "ademamix", "alpha", "0", most=0.1),
    Inclusion("adamw", "mars", "gamma", "0", most=0.001),
    Inclusion("rmsprop", "adam", "beta1", "0", most=0.1),
    Inclusion("rmsprop", "adamw", "beta1", "0", most=0.1),
    Inclusion("sgd_momentum", "adam", "eps", "far above every gradient", least=1.0),
    Inclusion("nesterov", "nadam", "eps", "far above every gradient", least=1.0),
)
"""Known inclusions, after Choi et al., "On empirical comparisons of optimizers for deep learning", arXiv 1910.05446."""


def tried(asked: Answers, study_id: str) -> dict[str, set[str]]:
    """Return for each optimizer of a study the options of which it has tried the special case of some inclusion.

    A range that leaves the special case out, or that no trial came near to it in, tests nothing: that the general form
    is not worse is then no more than that it was not asked. A trial counts where its value lies from `least` to `most`,
    or, of clipping, where none of its steps was clipped. Only completed tuning trials of an option that is searched.
    """
    spaces, trials = asked.frame(SPACES), asked.frame(TRIED)
    mine, ended = spaces[spaces["study_id"] == study_id], trials[trials["study_id"] == study_id]
    found: dict[str, set[str]] = {}
    for row in mine.itertuples():
        options = searched(row.space_json, base(row.optimizer))
        own = ended[ended["optimizer"] == row.optimizer]
        held = {one.option for one in INCLUSIONS if one.general == row.optimizer and _tried(own, one)}
        found[row.optimizer] = options & held
    return found


def _tried(trials: pd.DataFrame, inclusion: Inclusion) -> bool:
    if inclusion.unclipped:
        return bool((trials["clipped"] == 0).any())
    values = [json.loads(text).get("optimizer_options", {}).get(inclusion.option) for text in trials["params_json"]]
    return any(value is not None and inclusion.least <= value <= inclusion.most for value in values)


def searched(space_json: str, optimizer: str) -> set[str]:
    """Return the options that an arm searches: those in its `space_json` whose range is more than a single point."""
    ranges: Mapping[str, Mapping[str, float]] = json.loads(space_json or "{}").get(optimizer, {})
    return {option for option, bounds in ranges.items() if bounds["low"] < bounds["high"]}


def checked(pairs: pd.DataFrame, searched_options: Mapping[str, set[str]]) -> tuple[list[Inclusion], pd.DataFrame]:
    """Return the inclusions that hold among a study's options, and the rows of `comparisons` that violate one.

    A tuned optimizer should not lose to its own special case. Where it does significantly, after the correction, its
    search was too short, or its ranges too narrow.

    Args:
        pairs: rows of `comparisons` of one study.
        searched_options: options that each of its optimizers searched, or of which it has `tried` the special case.
    """
    hold = [found for found in INCLUSIONS if found.option in searched_options.get(found.general, set())]
    hold = [found for found in hold if found.special in searched_options]
    better = set(zip(pairs["optimizer"], pairs["other"], strict=True)) & {(one.special, one.general) for one in hold}
    rows = [pair in better for pair in zip(pairs["optimizer"], pairs["other"], strict=True)]
    return hold, pairs[pd.Series(rows, index=pairs.index, dtype=bool) & (pairs["outcome"] == BETTER)]
