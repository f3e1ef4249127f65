"""Cells of the page's tables, formatted for people."""

import math
from typing import Any

import pandas as pd

from analysis.figures.boards import labels
from analysis.report import columns
from analysis.stats.boards import ARM
from tune_qat.text.names import shown
from tune_qat.text.numbers import NOTHING, digits, rate

SCORES = {"fraction": 2, "percent": 2, "dB": 2}
"""Decimals of a column of scores, by unit."""


def cell(value: Any) -> str:
    """Format a value of a table: numbers to three significant digits, a dash for an unknown value."""
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
    """Format a number to three significant digits, without trailing zeros; whole numbers in full."""
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else digits(value, 3)


def rows(frame: pd.DataFrame, cap: int, constant: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a table for the page: at most `cap` rows, with the number of all rows as `total`.

    Columns of `constant` are left out if they have a single value (it is in the heading), and so are unit and sign, the
    metric (the caption has it), and columns without any value. The bits share one column. Scores, differences and
    shares are in the unit that their heading names.
    """
    metric = shown(str(frame["metric"].iloc[0])) if "metric" in frame and len(frame) and _same(frame["metric"]) else ""
    spoken = [name for name in (*constant, "metric", "unit", "sign") if name in frame and _same(frame[name])]
    table, unit = frame.head(cap), columns.unit_of(frame)
    kinds = dict(zip(frame.columns, columns.kinds(frame), strict=True))
    numeric = {name: frame[name].dtype.kind in "iuf" or _numbers(frame[name]) for name in frame}
    if {"method", "weight_bits", "activation_bits"} <= set(frame):
        table = table.assign(weight_bits=labels(frame).head(cap))
        spoken += ["method", "activation_bits"]
        numeric["weight_bits"] = False
    spoken += ["arm_id"] if "arm_id" in frame and _says_nothing_more(frame) else []
    left = [name for name in table if name not in spoken and not (len(frame) and frame[name].isna().all())]
    texts = [_texts(table[name], kinds[name], unit) for name in left]
    return {
        "columns": [
            "bits" if name == "weight_bits" and not numeric[name] else columns.heading(name, kinds[name], unit)
            for name in left
        ],
        "numeric": [numeric[name] for name in left],
        "rows": [list(row) for row in zip(*texts, strict=True)],
        "total": len(frame),
        "metric": metric,
    }


def _texts(values: pd.Series, kind: str, unit: str | None) -> list[str]:
    """Format the cells of a column: scores with the same decimals, rates in one style, names as people write them."""
    if kind == columns.NAME:
        return [", ".join(map(shown, cell(value).split(", "))) for value in values]
    if kind == columns.RATE:
        return [rate(value) for value in values.astype(float)]
    known = values.astype(float) * columns.factor(kind, unit) if kind in columns.FACTORED else values
    if kind == columns.SCORE:
        return [NOTHING if math.isnan(value) else f"{value:.{SCORES.get(unit or '', 3)}f}" for value in known]
    return [cell(value) for value in known]


def _says_nothing_more(frame: pd.DataFrame) -> bool:
    """Return whether the id of an arm follows from its optimizer and bits, which stand beside it."""
    keys = [name for name in ARM if name in frame]
    return "optimizer" in keys and bool(frame.groupby(keys, dropna=False)["arm_id"].nunique().max() == 1)


def _same(values: pd.Series) -> bool:
    return bool(values.nunique(dropna=False) <= 1)


def _numbers(values: pd.Series) -> bool:
    known = values.dropna()
    return bool(len(known) and known.map(lambda value: isinstance(value, int | float)).all() and known.dtype != bool)
