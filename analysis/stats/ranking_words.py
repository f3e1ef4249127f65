"""Sentences on the ranking of a board, drawn from intervals, about what the study's design lets them speak of."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.stats.comparisons import BETTER, EQUIVALENT
from analysis.stats.scope import Scope
from analysis.stats.words import amount, between, joined

LISTED = 3
"""Most worse ones that get a clause each; more are summarised in one."""


def ranking(
    standing: pd.DataFrame, pairs: pd.DataFrame, scope: Scope, *, reference: str | None = None, found: str = ""
) -> str:
    """Return sentences on the ranking of a board.

    Args:
        standing: the board's rows of `standings`, at least one.
        pairs: the board's rows of `comparisons`.
        scope: what the sentences may speak of.
        reference: optimizer that all others are compared with, where the study names one.
        found: clause on what differences such a study finds, for the sentence that tells of them.
    """
    arms, rows = list(standing.itertuples()), tested(pairs)
    if all(arm.failed == arm.trials for arm in arms):
        return "Every retrain trial counts as the trivial score: nothing can be told."
    if len(arms) == 1:
        return f"{arms[0].optimizer} is the only optimizer with retrain trials: it is compared with none."
    in_pairs = {name for row in rows for name in (row.optimizer, row.other)}
    able = [arm.optimizer for arm in arms if arm.optimizer in in_pairs]
    fallen = {arm.optimizer for arm in arms if 0 < arm.failed < arm.trials}
    unable = [arm.optimizer for arm in arms if arm.optimizer not in {*in_pairs, *fallen}]
    if not able:
        return _untested(arms, fallen)
    told = _against(reference, rows, scope) if reference in in_pairs else _told(able, rows, len(unable), scope)
    sentences = [f"{_begun(told)}{found}."]
    if unable:
        sentences.append(f"Nothing can be told of {joined(unable)}, without an interval against any other.")
    return " ".join(sentences)


def tested(pairs: pd.DataFrame) -> list[Any]:
    """Return the rows of pairs that have an interval."""
    return list(pairs[pairs["p"].notna()].itertuples())


def undominated(names: Sequence[str], rows: Iterable[Any]) -> list[str]:
    """Return the names that none of the others is significantly better than: the best is among them."""
    beaten = {row.other for row in rows if row.outcome == BETTER and row.optimizer in names}
    return [name for name in names if name not in beaten]


def _begun(told: str) -> str:
    """Return a sentence with a capital, but for a name of an optimizer."""
    return told[0].upper() + told[1:] if told.startswith(("the ", "against ")) else told


def _untested(arms: list[Any], fallen: set[str]) -> str:
    if max(arm.n for arm in arms) < 2:
        return f"One {arms[0].counts.removesuffix('s')}: nothing can be told."
    if len(arms) - len(fallen) < 2:
        return "No two arms are left to be compared: nothing can be told."
    return "Scores of two optimizers never vary apart, or share fewer than two seeds: nothing can be told."


def _told(able: list[str], rows: list[Any], unable: int, scope: Scope) -> str:
    leading = undominated(able, rows)
    worse = [name for name in able if name not in leading]
    if not worse:
        return _alike(able, rows, scope, named=len(able) == 2 or unable > 0)
    told = [row for row in rows if row.outcome == BETTER]
    of_first = {row.other: row for row in told if row.optimizer == leading[0]}
    by_first = [of_first[name] for name in worse if name in of_first]
    by_others = [next(row for row in told if row.other == name) for name in worse if name not in of_first]
    clauses = _ranked if scope.of_optimizers else _beating
    heads = [f"{scope.names(leading)} {_relation(leading, rows)}"] if len(leading) > 1 else []
    return "; ".join([*heads, *clauses(leading, by_first, by_others)])


def _ranked(leading: list[str], by_first: list[Any], by_others: list[Any]) -> list[str]:
    """Return the clauses about optimizers: that the first is best, if it is, and by how much others are worse."""
    first, head = leading[0], [f"{leading[0]} is best"] if len(leading) == 1 else []
    than = "" if head else f" than {first}"
    if len(by_first) > LISTED:
        worse = [f"{joined([row.other for row in by_first])} are worse{than} ({_span(by_first)})"]
    else:
        worse = [f"{row.other} is {_by(row, 'worse' + than)}" for row in by_first]
    return [*head, *worse, *(f"{row.other} is {_by(row, 'worse than ' + row.optimizer)}" for row in by_others)]


def _beating(leading: list[str], by_first: list[Any], by_others: list[Any]) -> list[str]:
    """Return the clauses about configurations: which one beats which, and by how much."""
    alone = len(leading) == 1
    subject = f"the {'configuration' if alone else 'one'} found for {leading[0]}"
    clauses = [f"{subject} is the best of those found"] if alone and by_others else []
    if clauses:
        subject = "it"
    if len(by_first) > LISTED:
        clauses.append(f"{subject} beats those found for {joined([row.other for row in by_first])} ({_span(by_first)})")
    elif by_first:
        beaten = [f"the one found for {row.other} by {_by(row)}" for row in by_first]
        clauses.append(f"{subject} beats {joined(beaten)}")
    others = [
        f"the one found for {row.optimizer} beats the one found for {row.other} by {_by(row)}" for row in by_others
    ]
    return [*clauses, *others]


def _alike(names: list[str], rows: list[Any], scope: Scope, *, named: bool) -> str:
    whose = "" if scope.of_optimizers else "configurations found for the "
    who = scope.names(names) if named else f"the {whose}{len(names)} optimizers"
    relation = _relation(names, rows)
    if not relation.startswith("are equivalent"):
        return f"{who} {relation}"
    differing = relation.removeprefix("are equivalent")
    return f"{who} are equivalent: no difference is as large as {amount(rows[0].margin, rows[0].unit)}{differing}"


def _relation(names: list[str], rows: list[Any]) -> str:
    among = [row for row in rows if row.optimizer in names and row.other in names]
    pairs = len(names) * (len(names) - 1) // 2
    equal = sum(row.outcome == EQUIVALENT for row in among)
    if not equal:
        return "cannot be told apart"
    if equal < pairs:
        return f"cannot all be told apart ({equal} of their {pairs} pairs are equivalent)"
    differ = sum(bool(row.better) for row in among)
    if not differ:
        return "are equivalent"
    which = "they differ" if pairs == 1 else f"{differ} of {pairs} pairs differ"
    return f"are equivalent ({which}, but by less than the margin)"


def _against(reference: str | None, rows: list[Any], scope: Scope) -> str:
    """Return what is told of each optimizer beside the reference, which alone all others are compared with."""
    own = [row for row in rows if reference in (row.optimizer, row.other)]
    better = [row for row in own if row.outcome == BETTER and row.other == reference]
    worse = [row for row in own if row.outcome == BETTER and row.optimizer == reference]
    clauses = [f"{scope.those([row.optimizer])} is {_by(row, 'better')}" for row in better]
    if len(worse) > LISTED:
        clauses.append(f"{scope.those([row.other for row in worse])} are worse ({_span(worse)})")
    else:
        clauses += [f"{scope.those([row.other])} is {_by(row, 'worse')}" for row in worse]
    rest = [row for row in own if row.outcome != BETTER]
    for relation, chosen in (
        ("equivalent to it", [row for row in rest if row.outcome == EQUIVALENT]),
        ("not told apart from it", [row for row in rest if row.outcome != EQUIVALENT]),
    ):
        names = [row.other if row.optimizer == reference else row.optimizer for row in chosen]
        if names:
            clauses.append(f"{scope.those(names)} {'is' if len(names) == 1 else 'are'} {relation}")
    return f"against {scope.name(str(reference))}: {'; '.join(clauses)}"


def _span(rows: list[Any]) -> str:
    unit = rows[0].unit
    least, most = min(row.ci_low for row in rows), max(row.ci_high for row in rows)
    return f"intervals from {amount(least, unit)} to {amount(most, unit)}"


def _by(row: Any, what: str = "") -> str:
    return between(row.difference, row.ci_low, row.ci_high, row.unit, what)
