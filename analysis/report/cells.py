"""Cells of the page's tables, formatted for people."""

import math
from typing import Any

import pandas as pd

from analysis.figures.boards import labels

NOTHING = "–"


def cell(value: Any) -> str:
    """Format a value of a table: numbers to five significant digits, a dash for an unknown value."""
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
    """Format a number to five significant digits, without trailing zeros; whole numbers in full."""
    if math.isnan(value):
        return NOTHING
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.5g}"


def score(value: float | None, unit: str) -> str:
    """Format a metric: fractions in percent to two decimals, others to three decimals; without the unit's name."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{100 * value:.2f}" if unit == "fraction" else f"{value:.3f}"


def unit_name(unit: str) -> str:
    """Return the unit in which `score` formats a metric."""
    return "%" if unit == "fraction" else unit


def rows(frame: pd.DataFrame, cap: int, constant: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a table for the page: at most `cap` rows, with the number of all rows as `total`.

    Columns of `constant` are left out if they have a single value (it is in the heading), and so are metric, unit and
    sign (the caption has the metric). The bits share one column.
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
