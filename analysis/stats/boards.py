"""Boards: groups of arms that are compared with one another. A board is one study, mode, workload, method and bits."""

import pandas as pd

BOARD = ["study_id", "mode", "workload", "method", "weight_bits", "activation_bits"]
"""Columns that identify a board; every table begins with them."""
ARM = [*BOARD, "optimizer"]
"""Columns that identify one optimizer on a board; its repeats are pooled."""

BOUNDS = {"fraction": (0.0, 1.0), "percent": (0.0, 100.0)}
"""Smallest and largest possible score, by unit."""
UNBOUNDED = (float("-inf"), float("inf"))
"""Bounds of a score in any other unit."""


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of comparison mode: a joint search tries promising optimizers more often, so none are ranked."""
    return frame[frame["mode"] == "comparison"]


def in_order(table: pd.DataFrame, *last: str) -> pd.DataFrame:
    """Sort rows by study, mode, workload, falling bits and method, then by `last`."""
    by = ["study_id", "mode", "workload", "weight_bits", "activation_bits", "method", *last]
    rising = [not column.endswith("_bits") for column in by]
    return table.sort_values(by, ascending=rising, kind="stable", ignore_index=True)
