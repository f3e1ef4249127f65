"""Cells of tables as people read them."""

import math
from typing import Any

import pandas as pd

from analysis.figures.boards import labels

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
    """A table for the page: at most `cap` rows, its whole length said.

    Without the columns named as constant where they are (the heading above says them), without a metric and unit that
    never change (the caption says them), and with one column for the bits.
    """
    spoken = [name for name in (*constant, "metric", "unit", "sign") if name in frame and _same(frame[name])]
    shown = frame.head(cap)
    if {"method", "weight_bits", "activation_bits"} <= set(frame):
        shown = shown.assign(weight_bits=labels(frame).head(cap)).rename(columns={"weight_bits": "at bits"})
        spoken += ["method", "activation_bits"]
    shown = shown.drop(columns=spoken)
    return {
        "columns": [str(name).replace("_", " ") for name in shown],
        "numeric": [shown[name].dtype.kind in "iuf" or _numbers(shown[name]) for name in shown],
        "rows": [[cell(value) for value in row] for row in shown.itertuples(index=False)],
        "total": len(frame),
        "metric": f"{frame['metric'].iloc[0]} in {frame['unit'].iloc[0]}" if "metric" in spoken else "",
    }


def _same(values: pd.Series) -> bool:
    return bool(values.nunique(dropna=False) <= 1)


def _numbers(values: pd.Series) -> bool:
    known = values.dropna()
    return bool(len(known) and known.map(lambda value: isinstance(value, int | float)).all() and known.dtype != bool)
