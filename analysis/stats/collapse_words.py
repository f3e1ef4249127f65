"""Sentence on arms that collapsed, which stands first in a verdict."""

from typing import Any

import pandas as pd

from analysis.stats.words import counted, joined

COLLAPSED = "No better than a constant prediction (collapsed, diverged or failed)"


def collapse(rows: pd.DataFrame) -> str:
    """Return how often arms of a board collapsed, with Wilson's interval, and that their means are unreliable.

    Args:
        rows: the board's rows of `collapses`.

    Returns:
        The sentence; empty where no arm collapsed.
    """
    fallen = [row for row in rows.itertuples() if row.collapsed]
    if not fallen:
        return ""
    now_and_then = [row.optimizer for row in fallen if row.collapsed < row.n]
    told = f"{COLLAPSED}: {joined([_count(row) for row in fallen])}"
    if not now_and_then:
        return f"{told}."
    mean = "mean" if len(now_and_then) == 1 else "means"
    verb = "is" if len(now_and_then) == 1 else "are"
    return f"{told}. The {mean} of {joined(now_and_then)} {verb} unreliable, and compared with none."


def _count(row: Any) -> str:
    """Return the count of an arm with its interval, and with the count of runs where repeats are counted."""
    interval = f"95 % interval {100 * row.ci_low:.0f} to {100 * row.ci_high:.0f} %"
    runs = f"; {row.collapsed_runs} of {counted(int(row.runs), 'run')}" if row.counts == "repeats" else ""
    return (
        f"{row.optimizer} in {row.collapsed} of {counted(int(row.n), row.counts.removesuffix('s'))} ({interval}{runs})"
    )
