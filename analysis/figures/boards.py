"""Boards in figures: selection, labels and iteration. Scores are compared within a board, never across."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.stats.boards import BOARD, is_worsened

SCOPE = ["study_id", "mode", "workload"]


def only(frame: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    """Return the rows in which every named column has the given value; columns that the table lacks are ignored."""
    for name, value in where.items():
        if name in frame:
            frame = frame[frame[name] == value]
    return frame


def bits(row: Any) -> str:
    """Return the bits of weights and activations, as `4/4`, or `any` where they were searched or are not known."""
    if pd.isna(row.weight_bits) or pd.isna(row.activation_bits):
        return "any"
    return f"{row.weight_bits:g}/{row.activation_bits:g}"


def labels(frame: pd.DataFrame) -> pd.Series:
    """Return each row's board label: its bits, and study, workload and method where the frame has several of them.

    A worsened control is always named behind its bits.
    """
    keys = [name for name in BOARD if name in frame and name != "mode"]
    unique = frame[keys].drop_duplicates()
    parts = [name for name in ("study_id", "workload") if name in frame and unique[name].nunique() > 1]
    quantized = (unique["weight_bits"] != 32) | (unique["activation_bits"] != 32)
    several = unique.loc[quantized, "method"].nunique() > 1
    named = []
    for row, reduced in zip(unique.itertuples(), quantized, strict=True):
        words = [str(getattr(row, part)) for part in parts]
        method = str(row.method)
        before, after = several and reduced, is_worsened(method)
        named.append(" ".join([*words, *([method] if before else []), bits(row), *([method] if after else [])]))
    found = frame[keys].merge(unique.assign(label=named), on=keys, how="left")["label"]
    return pd.Series(found.to_numpy(), index=frame.index, dtype=object)


def boards(frame: pd.DataFrame, by: Sequence[str] = BOARD) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield label (`4/4 bits` where no other words are needed) and rows of each board, in the order of the table."""
    if not len(frame):
        return
    named = frame.assign(label=labels(frame))
    for _, rows in named.groupby([*by], sort=False, dropna=False):
        label = str(rows["label"].iloc[0])
        yield label if " " in label else f"{label} bits", rows
