"""Words of the page's opening: who leads a board, and what comes next and by how much."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.stats.comparisons import BETTER, EQUIVALENT
from analysis.stats.scope import Scope
from analysis.stats.words import amount, between, joined
from tune_qat.text.names import shown

NAMED = 3
"""Most optimizers of a leading group that are named beside the first."""
JOINT = " is the best configuration of one search over all optimizers, which does not rank them"
"""Words for the leader of a joint search."""
ON_FRONT = " has the point of the front at these bits, in one search over all optimizers, which does not rank them"
"""Words for a point of a search with several objectives."""


class Head(NamedTuple):
    """First sentence of a line: a name, and what is said of it."""

    name: str
    said: str
    """Words that follow the name at once."""


NOTHING = Head("", "No trial has been completed yet")


def head(
    leader: str, group: Sequence[str], of_pairs: Mapping[frozenset[str], Any], rows: pd.DataFrame, scope: Scope
) -> Head:
    """Say who leads a board, and in which relation the rest of the leading group stands to it.

    Args:
        leader: the optimizer with the best mean.
        group: leader and those that none is significantly better than.
        of_pairs: rows of `comparisons` with an interval, by their two optimizers.
        rows: the board's rows of `standing` with scores.
        scope: what the sentence may speak of.
    """
    name, others = shown(leader), [one for one in group if one != leader]
    if rows["mode"].iloc[0] == "joint":
        return Head(name, JOINT)
    if math.isclose(rows["mean"].iloc[0], rows["trivial"].iloc[0]):
        return Head("", "Every configuration failed or learned nothing: nothing can be told")
    if len(rows) == 1:
        return Head(name, " is the only optimizer with scores on test data")
    if not of_pairs:
        return Head(name, " has the best mean; no difference could be tested")
    if not others:
        return Head(name, " is best" if scope.of_optimizers else "’s configuration is the best of those found")
    equal = all(of_pairs[frozenset((leader, one))].outcome == EQUIVALENT for one in others)
    which = [shown(one) for one in others]
    listed = joined(which if len(which) <= NAMED else [*which[: NAMED - 1], f"{len(which) - NAMED + 1} more"])
    relation = "equivalent to it" if equal else "not told apart from it"
    if scope.of_optimizers:
        return Head(name, f" leads; {listed} {'is' if len(others) == 1 else 'are'} {relation}")
    those = f"that of {listed} is" if len(others) == 1 else f"those of {listed} are"
    return Head(name, f"’s configuration leads; {those} {relation}")


def what_follows(leader: str, group: Sequence[str], able: pd.DataFrame, pairs: pd.DataFrame | None) -> str:
    """Say what comes next, and by how much; the second of the leading group where all belong to it.

    Args:
        leader: the optimizer with the best mean.
        group: leader and those that none is significantly better than.
        able: the board's rows of `standing` that can be compared, the best first.
        pairs: the board's rows of `comparisons`.
    """
    behind = [name for name in able["optimizer"] if name not in group]
    head = "First behind this group" if behind and len(group) > 1 else "Next"
    behind = behind or [name for name in able["optimizer"] if name != leader]
    if not behind:
        return ""
    name, unit = shown(behind[0]), str(able["unit"].iloc[0])
    pair = None if pairs is None else _pair(pairs, leader, behind[0])
    if pair is None or pd.isna(pair.p):
        means = able.set_index("optimizer")["mean"]
        why = "; the study does not compare the two" if pair is None else ", without an interval"
        return f"{head}: {name}, {_by(abs(means[leader] - means[behind[0]]), unit)} in the mean{why}."
    by = between(pair.difference, pair.ci_low, pair.ci_high, unit, "worse")
    if pair.outcome == BETTER:
        return f"{head}: {name}, {by}."
    return f"{head}: {name}, {'equivalent' if pair.outcome == EQUIVALENT else 'not told apart'}: {by}."


def _pair(pairs: pd.DataFrame, one: str, other: str) -> Any:
    return next((row for row in pairs.itertuples() if {row.optimizer, row.other} == {one, other}), None)


def _by(value: float, unit: str) -> str:
    return f"{amount(value, unit)} worse" if value else "the same"
