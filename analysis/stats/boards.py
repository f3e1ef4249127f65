"""Boards: groups of arms that are compared with one another. A board is one study, mode, workload, method and bits.

A study has one kind of start, so that studies that fine-tune and studies from scratch make boards of their own, and a
control beside 32/32 itself is a method of its own (`analysis/board_arms.sql`).
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
    return str(method).startswith("worsened for ")


def base(optimizer: str) -> str:
    """Return the optimizer of the weights: `sgd` of the row `sgd + adam steps`."""
    return optimizer.partition(" + ")[0]


def wholes(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with blocks of repeats of one board in one piece, `study_id` being the name of their whole study.

    A whole study may lie in several files, each with repeats of its own. Where two of them hold the same board (same
    workload, method, bits and start), `study_id` is the whole's name in all of its boards of that workload, with the
    kind of start behind it where boards of several kinds are in such pieces. All other rows stay as they are.
    Runs that one study has taken over from another of the results count once. Two files that hold the same repeat of an
    optimizer are no blocks of one board, since their data or recipe differ: both stay as they are.

    Args:
        scores: rows of `retrain_scores`.
    """
    whole = scores["whole"].where(scores["whole"].notna(), scores["study_id"])
    named = scores.assign(whole=whole)
    if not named[["whole", "study_id"]].drop_duplicates()["whole"].duplicated().any():
        return named  # no whole study lies in several files
    same = ["whole", "mode", "workload", "init"]
    board = [*same, *BOARD[3:]]
    pieces = named.groupby(board, dropna=False)["study_id"].transform("nunique") > 1
    # Files that hold the same repeat of an optimizer are no blocks of one board: their data or recipe differ.
    own = named["study_id"].where(~named["copied"].astype(bool))
    twice = (
        own.groupby([named[name] for name in [*board, "optimizer", "repeat"]], dropna=False).transform("nunique") > 1
    )
    pieces &= ~twice.groupby([named[name] for name in board], dropna=False).transform("any")
    if not pieces.any():
        return named
    split = pieces.groupby([named[name] for name in same], dropna=False).transform("any")
    starts = named["init"].where(split).groupby([named[name] for name in same[:-1]], dropna=False).transform("nunique")
    label = whole.where(starts <= 1, whole + ", " + named["init"].astype(str))
    kept = named.assign(study_id=named["study_id"].mask(split, label))
    return kept[~(split & named["copied"].astype(bool))]
