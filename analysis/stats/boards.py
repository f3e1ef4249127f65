"""Boards: groups of arms that are compared with one another. A board is one study, mode, workload, method and bits.

A study has one kind of start, so that studies that fine-tune and studies from scratch make boards of their own, and a
control beside 32/32 itself is a method of its own (`analysis/board_arms.sql`). A study may lie in several files, which
every question reads as one (`analysis/parts.sql`).
"""

import pandas as pd

BOARD = ["study_id", "mode", "workload", "method", "weight_bits", "activation_bits"]
"""Columns that identify a board; every table begins with them."""
ARM = [*BOARD, "optimizer"]
"""Columns that identify one optimizer on a board; its repeats are pooled."""

BOUNDS = {"fraction": (0.0, 1.0), "percent": (0.0, 100.0)}
"""Smallest and largest possible score, by unit."""
UNBOUNDED = (float("-inf"), float("inf"))
"""Bounds of a score in any other unit."""
_WORSENED = "worsened for "


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of comparison mode: a joint search tries promising optimizers more often, so none are ranked."""
    return frame[frame["mode"] == "comparison"]


def in_order(table: pd.DataFrame, *last: str) -> pd.DataFrame:
    """Sort rows by study, mode, workload, falling bits and method, then by `last`."""
    by = ["study_id", "mode", "workload", "weight_bits", "activation_bits", "method", *last]
    rising = [not column.endswith("_bits") for column in by]
    return table.sort_values(by, ascending=rising, kind="stable", ignore_index=True)


def is_worsened(method: object) -> bool:
    """Return whether a board's method is that of a worsened control at 32/32, as the view `board_arms` names it."""
    return str(method).startswith(_WORSENED)


def control_for(method: object) -> str | None:
    """Return the bits that a board is a worsened control for, as 4/4; None for any other board."""
    return str(method).removeprefix(_WORSENED) if is_worsened(method) else None


def base(optimizer: str) -> str:
    """Return the optimizer of the weights: `sgd` of the row `sgd + adam steps`."""
    return optimizer.partition(" + ")[0]
