"""Data frames as tables of plain text."""

import math
import numbers
from typing import TYPE_CHECKING

from tune_qat.text.layout import Column, lay_out
from tune_qat.text.printable import printable
from tune_qat.text.terminal import drawable, width

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 500
"""Limit of the rows in a table on the screen: nobody reads more."""
_DECIMALS = 4
_MOST_DECIMALS = 6
_SPREAD = 1_000
"""Ratio of the largest number of a column to its smallest from which they have no decimals in common."""


def table_text(frame: "pd.DataFrame", *, count: bool = True) -> str:
    """Return the frame's first rows as a plain table, numbers aligned to the right, NULL as a dash.

    It fits the terminal: columns that have no room are left out from the middle, and named below. With `count`, a last
    line says how many rows there are.
    """
    layout = lay_out(columns_of(frame.head(MOST_ROWS)), width())
    lines = [*layout.head, *layout.rows]
    if layout.left_out:
        lines.append(f"A wider terminal also shows: {', '.join(layout.left_out)}")
    return drawable("\n".join([*lines, *(["", counted(frame)] if count else [])]))


def counted(frame: "pd.DataFrame") -> str:
    """Say how many rows there are, and which formats have those that are not shown."""
    rest = f", the first {MOST_ROWS} of them here: --format csv, json or parquet has all"
    return f"{len(frame)} row{'' if len(frame) == 1 else 's'}{rest if len(frame) > MOST_ROWS else ''}"


def columns_of(frame: "pd.DataFrame") -> list[Column]:
    """Return the columns of a frame as text, each in one line."""
    # By position: two columns may have the same name.
    return [
        Column(
            one_line(str(name)),
            tuple(map(one_line, _cells(frame.iloc[:, place]))),
            numbers=frame.dtypes.iloc[place].kind in "iufb",
        )
        for place, name in enumerate(frame.columns)
    ]


def one_line(text: str) -> str:
    """Return a text with its line feeds, tabs and control characters as Python writes them."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def cell(value: object) -> str:
    """Return a value as text: NULL as a dash, fractions with four decimals, or four digits if small or large."""
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "-"
    if not isinstance(value, numbers.Real) or isinstance(value, numbers.Integral):
        return str(value)
    return _number(float(value))


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return _short(f"{value:.{_DECIMALS}f}") if 1 <= abs(value) < 1e6 or value == 0 else f"{value:.4g}"


def _cells(values: "pd.Series") -> list[str]:
    """Return values as text; numbers of one size have the same decimals, so that their points are below each other."""
    if values.dtype.kind != "f":
        return [cell(value) for value in values.tolist()]
    alone = [_number(value) for value in values.tolist()]
    sizes = values.abs()
    sizes = sizes[sizes > 0]
    if not len(sizes) or not sizes.max() < min(1e6, _SPREAD * sizes.min()):
        return alone
    decimals = max(_DECIMALS, 2 - math.floor(math.log10(sizes.min())))  # three digits of the smallest
    if decimals > _MOST_DECIMALS:
        return alone
    fixed = [None if math.isnan(value) else f"{value:.{decimals}f}" for value in values.tolist()]
    zeros = min(len(text) - len(text.rstrip("0")) for text in fixed if text)
    return ["-" if text is None else text[: len(text) - zeros].rstrip(".") for text in fixed]


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".")
