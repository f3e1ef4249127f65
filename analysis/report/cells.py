"""Cells of tables as people read them."""

import math
from typing import Any

import pandas as pd

NOTHING = "–"


def cell(value: Any) -> str:
    """A value of a table: five significant digits, a dash for what is not known."""
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, float) or hasattr(value, "dtype") and value.dtype.kind == "f":
        return number(float(value))
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return str(value)


def number(value: float) -> str:
    """Five significant digits, as few zeros as that needs."""
    if math.isnan(value):
        return NOTHING
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.5g}"


def score(value: float | None, unit: str) -> str:
    """A metric: fractions as percent, anything else with its own digits; without the unit's name."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{100 * value:.2f}" if unit == "fraction" else f"{value:.3f}"


def unit_name(unit: str) -> str:
    """What `score` prints its numbers in."""
    return "%" if unit == "fraction" else unit


def rows(frame: pd.DataFrame, cap: int, constant: tuple[str, ...] = ()) -> dict[str, Any]:
    """A table for the page: at most `cap` rows, without the columns named as constant, its whole length said.

    The same value in every row of those columns is said by the heading above the table.
    """
    shown = frame.drop(columns=[name for name in constant if name in frame and frame[name].nunique(dropna=False) <= 1])
    body = shown.head(cap)
    numeric = [name for name in shown if shown[name].dtype.kind in "iuf"]
    return {
        "columns": list(shown.columns),
        "numeric": set(numeric),
        "rows": [[cell(value) for value in row] for row in body.itertuples(index=False)],
        "total": len(frame),
    }
