"""A board: what is compared with what. One study, mode, workload, method and pair of bit widths."""

import pandas as pd

BOARD = ["study_id", "mode", "workload", "method", "weight_bits", "activation_bits"]
"""Columns that begin every table."""
ARM = [*BOARD, "optimizer"]
"""One optimizer on a board; its repeats are pooled."""

BOUNDS = {"fraction": (0.0, 1.0), "percent": (0.0, 100.0)}
"""What a score in this unit can be at all."""
UNBOUNDED = (float("-inf"), float("inf"))
"""A score in any other unit."""


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of comparison mode: in joint mode a sampler spends more on what it likes, which is no ranking."""
    return frame[frame["mode"] == "comparison"]


def in_order(table: pd.DataFrame, *last: str) -> pd.DataFrame:
    """Rows by study, workload, falling bits and method, then by `last`."""
    by = ["study_id", "mode", "workload", "weight_bits", "activation_bits", "method", *last]
    rising = [not column.endswith("_bits") for column in by]
    return table.sort_values(by, ascending=rising, kind="stable", ignore_index=True)
