"""Sentences on the ranking of a board's optimizers, drawn from their intervals."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.stats.comparisons import BETTER, EQUIVALENT
from analysis.stats.words import amount, between, counted, joined

LISTED = 3
"""Most worse optimizers that get a clause each; more are summarised in one."""


def ranking(standing: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Return sentences on the ranking of a board.

    Args:
        standing: the board's rows of `standings`, at least one.
        pairs: the board's rows of `comparisons`.
    """
    arms, rows = list(standing.itertuples()), tested(pairs)
    if all(arm.failed == arm.trials for arm in arms):
        return "Every retrain trial diverged or failed and counts as the trivial score: nothing can be told."
    if len(arms) == 1:
        return f"{arms[0].optimizer} is the only optimizer with retrain trials: it is compared with none."
    in_pairs = {name for row in rows for name in (row.optimizer, row.other)}
    able = [arm.optimizer for arm in arms if arm.optimizer in in_pairs]
    unable = [arm.optimizer for arm in arms if arm.optimizer not in in_pairs]
    if not able:
        return _untested(arms)
    sentences = [_told(able, rows, len(unable)), *_failed(arms)]
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


def _untested(arms: list[Any]) -> str:
    if max(arm.n for arm in arms) < 2:
        return f"One {arms[0].counts.removesuffix('s')}: nothing can be told."
    return "Scores of two optimizers never vary apart, or share fewer than two seeds: nothing can be told."


def _told(able: list[str], rows: list[Any], unable: int) -> str:
    leading = undominated(able, rows)
    worse = [name for name in able if name not in leading]
    if not worse:
        return _alike(able, rows, named=len(able) == 2 or unable > 0)
    first = leading[0]
    head = f"{first} is best" if len(leading) == 1 else f"{joined(leading)} {_relation(leading, rows)}"
    than = "" if len(leading) == 1 else f" than {first}"
    told = [row for row in rows if row.outcome == BETTER]
    of_first = {row.other: row for row in told if row.optimizer == first}
    clauses = _clauses([of_first[name] for name in worse if name in of_first], than)
    for name in worse:
        if name not in of_first:
            row = next(row for row in told if row.other == name)
            clauses.append(f"{name} is {_by(row, 'worse than ' + row.optimizer)}")
    return "; ".join([head, *clauses]) + "."


def _alike(names: list[str], rows: list[Any], *, named: bool) -> str:
    who = joined(names) if named else f"The {len(names)} optimizers"
    relation = _relation(names, rows)
    if relation == "are equivalent":
        return f"{who} are equivalent: no difference is as large as {amount(rows[0].margin, rows[0].unit)}."
    return f"{who} {relation}."


def _relation(names: list[str], rows: list[Any]) -> str:
    among = [row for row in rows if row.optimizer in names and row.other in names]
    every_pair = len(among) == len(names) * (len(names) - 1) // 2
    same = every_pair and all(row.outcome == EQUIVALENT for row in among)
    return "are equivalent" if same else "cannot be told apart"


def _clauses(rows: list[Any], than: str) -> list[str]:
    if len(rows) <= LISTED:
        return [f"{row.other} is {_by(row, 'worse' + than)}" for row in rows]
    unit = rows[0].unit
    least, most = min(row.ci_low for row in rows), max(row.ci_high for row in rows)
    worse = f"{joined([row.other for row in rows])} are worse{than}"
    return [f"{worse} (intervals from {amount(least, unit)} to {amount(most, unit)})"]


def _by(row: Any, what: str) -> str:
    return between(row.difference, row.ci_low, row.ci_high, row.unit, what)


def _failed(arms: list[Any]) -> list[str]:
    lost = [f"{arm.optimizer} in {arm.failed} of {counted(arm.trials, 'trial')}" for arm in arms if arm.failed]
    return [f"Diverged or failed, counted as the trivial score: {joined(lost)}."] if lost else []
