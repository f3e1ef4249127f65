"""Order of a table's rows: optimizers by place on their board, never by alphabet."""

from typing import Any

import pandas as pd

from analysis.answers import Answers
from analysis.stats.boards import BOARD

FIRST = ("learning_rate", "batch_size")
"""Columns that stand behind the optimizer."""


def by_place(table: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """Return the rows with the optimizers of each board by their place in its leaderboard, those without one last.

    The order of boards, and that of one optimizer's rows, stays. So does that of a table which has the optimizers in an
    order of its own, which is no alphabet: by time, say. Pairs are ordered by both of their places.
    """
    names = [name for name in ("optimizer", "other") if name in table]
    if "optimizer" not in names or not len(table):
        return table
    keys = [name for name in (*BOARD, "init", "kind", "control_for") if name in table]
    group = table.groupby(keys, dropna=False, sort=False).ngroup() if keys else pd.Series(0, index=table.index)
    if "other" not in names and not _alphabetical(table["optimizer"], group):
        return table
    if "pair" in table:
        return table
    places = _places(table, answers)
    return (
        table.assign(_group=group, **{f"_{name}": places[name] for name in names})
        .sort_values(["_group", *(f"_{name}" for name in names)], kind="stable", na_position="last")
        .drop(columns=["_group", *(f"_{name}" for name in names)])
    )


def rate_first(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with learning rate and batch size straight behind the optimizer."""
    moved = [name for name in FIRST if name in table]
    if "optimizer" not in table or not moved:
        return table
    rest = [name for name in table if name not in moved]
    after = rest.index("optimizer") + 1
    return table[[*rest[:after], *moved, *rest[after:]]]


def _alphabetical(names: pd.Series, group: pd.Series) -> bool:
    firsts = pd.DataFrame({"group": group, "name": names}).dropna().drop_duplicates()
    return all(rows["name"].is_monotonic_increasing for _, rows in firsts.groupby("group"))


def _places(table: pd.DataFrame, answers: Answers) -> dict[str, pd.Series]:
    """Return the place of each name of each row: on its board, or else its mean place over all boards."""
    board = answers.frame("leaderboard")
    keys = [name for name in BOARD if name in table and table[name].notna().any()]
    of_board: dict[Any, float] = board.groupby([*keys, "optimizer"], dropna=False)["place"].mean().to_dict()
    overall: dict[Any, float] = board.groupby("optimizer")["place"].mean().to_dict()
    found = {}
    for name in [one for one in ("optimizer", "other") if one in table]:
        rows = table[[*keys, name]].itertuples(index=False, name=None)
        found[name] = pd.Series(
            [of_board.get(row if keys else row[0], overall.get(row[-1], float("nan"))) for row in rows],
            index=table.index,
            dtype=float,
        )
    return found
