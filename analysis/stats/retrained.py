"""Retrain scores by board: optimizers in columns, and in rows the seeds or repeats that replicate the experiment."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.stats.boards import BOARD
from analysis.stats.intervals import Numbers

WORKLOAD = ["study_id", "mode", "workload"]
FACTS = ["metric", "unit", "sign", "margin", "trivial"]
"""Columns that all arms of a board share."""
FLOAT_BITS = 32


Key = tuple[Any, ...]
Indices = npt.NDArray[np.int64]


class Board(NamedTuple):
    """Scores of one board: rows are seeds or repeats, columns are optimizers."""

    key: Key
    """Values of the columns `BOARD`."""
    optimizers: list[str]
    repetitions: list[int]
    """Numbers of the seeds or repeats."""
    scores: Numbers
    """Scores, (repetitions, optimizers); NaN where an arm has none."""
    lost: npt.NDArray[np.bool_]
    """Whether a trial of the arm failed or collapsed, (optimizers,)."""
    unit: str
    """Kind of a row: `seed` or `repeat`."""
    facts: dict[str, Any]
    """Values of the columns `FACTS`."""
    mixed: npt.NDArray[np.bool_]
    """Whether some trials of the arm failed or collapsed and others did not: scores on two humps, (optimizers,)."""
    fallen: npt.NDArray[np.bool_]
    """Whether a trial of the repetition failed or collapsed, (repetitions, optimizers)."""
    whole: str
    """Name of the whole study that the repeats belong to."""
    init: str | None
    """Kind of start of the arms: pretrain, scratch or path."""
    control_for: str | None
    """Bits that the board is a control for beside 32/32 itself, as 4/4; None for any other board."""
    starts: tuple[str | None, ...]
    """Name of the start of each repetition; None where starts have no names."""

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.key[-2:] == (FLOAT_BITS, FLOAT_BITS)

    @property
    def is_control(self) -> bool:
        """Whether nothing is quantized, and the start is that of the quantized arms."""
        return self.is_float and self.control_for is None

    @property
    def oriented(self) -> Numbers:
        """Scores with a sign such that larger is better."""
        return self.scores * self.facts["sign"]

    @property
    def rounding(self) -> float:
        """Rounding error of a difference of two scores: a smaller spread of differences counts as none."""
        return float(8 * np.finfo(float).eps * np.nanmax(np.abs(self.scores)))

    @property
    def columns(self) -> dict[str, Any]:
        """Values, by column, that every row of a table about the board has."""
        return {**dict(zip(BOARD, self.key, strict=True)), **self.facts}


def boards(scores: pd.DataFrame) -> Iterator[Board]:
    """Yield the boards of `retrain_scores`, without joint searches: one search over all optimizers does not rank them.

    Seeds of one repeat share the configuration that its search chose. Where a board has several repeats, these are the
    replicates of the experiment, and a repeat's score is the mean over its seeds.
    """
    ranked = scores[scores["mode"] != "joint"]
    for key, rows in ranked.groupby(BOARD, dropna=False, sort=False):
        unit = "repeat" if rows["repeat"].nunique() > 1 else "seed"
        optimizers, column = np.unique(rows["optimizer"].to_numpy(dtype=object), return_inverse=True)
        repetitions, row = np.unique(rows[unit], return_inverse=True)
        sums, counts, falls = np.zeros((3, len(repetitions), len(optimizers)))
        np.add.at(sums, (row, column), rows["score"].to_numpy(dtype=float))
        np.add.at(counts, (row, column), 1)
        np.add.at(falls, (row, column), rows["failed"].to_numpy(dtype=float))
        first = rows.iloc[0]
        yield Board(
            key=_plain(key),
            optimizers=list(optimizers),
            repetitions=list(repetitions),
            scores=np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0),
            lost=np.asarray((falls > 0).any(axis=0)),
            unit=unit,
            facts={name: first[name] for name in FACTS},
            mixed=(falls > 0).any(axis=0) & (falls.sum(axis=0) < counts.sum(axis=0)),
            fallen=falls > 0,
            whole=_known(first["whole"]) or str(first["study_id"]),
            init=_known(first["init"]),
            control_for=_known(first["control_for"]),
            starts=_starts(rows, row, len(repetitions)),
        )


def _starts(rows: pd.DataFrame, row: Indices, repetitions: int) -> tuple[str | None, ...]:
    if rows["start_name"].isna().all():
        return (None,) * repetitions
    names = rows["start_name"].to_numpy(dtype=object)
    _, first = np.unique(row, return_index=True)
    return tuple(_known(names[place]) for place in first)


def _known(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def by_board(table: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Return the rows of each board, by its key."""
    return {_plain(key): rows for key, rows in table.groupby(BOARD, dropna=False, sort=False)}


def _plain(key: Key) -> Key:
    # NaN is not equal to itself, so that a key with one would not be found again; bits are floats where some are NULL.
    known = (None if pd.isna(value) else value for value in key)
    return tuple(int(value) if isinstance(value, float) else value for value in known)


def pairs_of(optimizers: int) -> tuple[Indices, Indices]:
    """Return the column indices of the first and of the second optimizer of each pair."""
    first, second = np.triu_indices(optimizers, 1)
    return first, second


def chosen_pairs(optimizers: Sequence[str], reference: str | None) -> tuple[Indices, Indices]:
    """Return the column indices of the pairs to compare: all, or with a `reference` each other one and this.

    There is none where the reference has no column.
    """
    first, second = pairs_of(len(optimizers))
    if reference is None:
        return first, second
    at = optimizers.index(reference) if reference in optimizers else -1
    chosen = (first == at) | (second == at)
    return first[chosen], second[chosen]


def stacked(tables: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build one frame from many tables, each with arrays of one length and values that all its rows share."""
    lengths = [next(len(value) for value in table.values() if isinstance(value, np.ndarray)) for table in tables]
    return pd.DataFrame(
        {
            name: np.concatenate(
                [
                    table[name] if isinstance(table[name], np.ndarray) else np.full(length, table[name])
                    for table, length in zip(tables, lengths, strict=True)
                ]
            )
            for name in tables[0]
        }
    )
