"""Answers to questions as text: what is the same in all rows stands above a table that fits the terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from tune_qat.text.layout import Column, Layout, lay_out, shortened
from tune_qat.text.tables import MOST_ROWS, columns_of, counted
from tune_qat.text.terminal import drawable

if TYPE_CHECKING:
    import pandas as pd

BOARD = ("study_id", "mode", "workload", "method", "weight_bits", "activation_bits")
"""Columns that name a board, whose rows are compared with one another and with no others."""
SECTION = 3
"""Fewest rows of a board, on average, with which it gets a line of its own above them."""


def answer_text(frame: "pd.DataFrame", width: int | None, *, blocks: bool = False) -> str:
    """Return an answer as text in lines of at most `width` characters, as long as need be where that is None.

    A heading has what is the same in all rows, a table the other columns, with a line above the rows of each board;
    columns that have no room are left out and named. A single row that has no room, and with `blocks` each row, is
    written column by column.
    """
    columns = columns_of(frame.head(MOST_ROWS))
    if not len(frame):
        lines = [*_wrapped(", ".join(column.name for column in columns), width)]
        return "\n".join([*lines, "", counted(frame)])
    constant = _constants(frame)
    if blocks or (len(frame) == 1 and lay_out(columns, width) != lay_out(columns, None)):
        said = [place for place in constant if width is None or len(_item(columns[place])) < width // 2]
        shown = [column for place, column in enumerate(columns) if place not in said]
        lines = [*_heading([columns[place] for place in said], width), *_blocks(shown, width)]
        return drawable("\n".join([*lines, "", counted(frame)]))
    of_board = _board(frame, constant)
    layout = lay_out([one for place, one in enumerate(columns) if place not in {*constant, *of_board}], width)
    rows = _in_sections(layout, [columns[place] for place in of_board], width)
    heading = _heading([columns[place] for place in constant], width)
    return drawable("\n".join([*heading, *rows, "", *_notes(frame, layout, width)]))


def _constants(frame: "pd.DataFrame") -> list[int]:
    """Return the places of the columns that say the same in all rows: none where there is one row, or no other."""
    found = [place for place in range(frame.shape[1]) if _is_constant(frame.iloc[:, place])]
    return found if 1 < len(frame) and len(found) < frame.shape[1] else []


def _is_constant(values: "pd.Series") -> bool:
    try:
        return bool(values.nunique(dropna=False) == 1)
    except TypeError:  # lists and structures cannot be hashed
        return False


def _board(frame: "pd.DataFrame", constant: Sequence[int]) -> list[int]:
    """Return the places of the columns that name the boards of an answer which begins with them, some of them constant.

    None where boards have but a row or two each, or are mixed.
    """
    names = list(frame.columns)
    if not {*BOARD} <= {*names} or len({*names}) < len(names):
        return []
    found = [names.index(name) for name in BOARD if names.index(name) not in constant]
    rows = frame.iloc[:, found].astype(str).agg("/".join, axis=1) if found else frame.index
    runs = sum(1 for _ in groupby(rows))
    return found if runs == rows.nunique() and len(frame) >= SECTION * runs else []


def _heading(columns: Sequence[Column], width: int | None) -> Iterator[str]:
    """Yield lines of what is the same in all rows, and an empty one."""
    if columns:
        yield from [*_filled([_item(column) for column in columns], width), ""]


def _item(column: Column, row: int = 0) -> str:
    text = column.cells[row]
    return f"{column.name}={'NULL' if text == '-' else text}"


def _filled(items: Sequence[str], width: int | None) -> Iterator[str]:
    """Yield lines of items, none of which is broken; what is longer than a line is cut."""
    line = ""
    for item in items:
        item = item if width is None else shortened(item, width)
        if line and width is not None and len(line) + 2 + len(item) > width:
            yield line
            line = ""
        line += f"  {item}" if line else item
    yield line


def _in_sections(layout: Layout, board: Sequence[Column], width: int | None) -> Iterator[str]:
    """Yield the lines of a table, with a line of its own above the rows of each board."""
    before: tuple[str, ...] = ()
    yield from layout.head
    for row, line in enumerate(layout.rows):
        here = tuple(column.cells[row] for column in board)
        if here != before:
            yield from [""] if row else []
            yield from _filled([_item(column, row) for column in board], width)
            before = here
        yield line


def _blocks(columns: Sequence[Column], width: int | None) -> Iterator[str]:
    """Yield rows as blocks with a line for each column; text goes over several lines, broken between words."""
    names = max(len(column.name) for column in columns) + 2
    for row in range(len(columns[0].cells)):
        yield from [""] if row else []
        for column in columns:
            yield from _wrapped(f"{column.name:{names}}{column.cells[row]}", width, names)


def _notes(frame: "pd.DataFrame", layout: Layout, width: int | None) -> Iterator[str]:
    yield from _wrapped(counted(frame), width, 2)
    if layout.left_out:
        number = len(layout.left_out)
        yield from _wrapped(f"{number} more column{'s' * (number > 1)}: --wide, --columns, --format csv", width, 2)
        yield from _wrapped(f"  {', '.join(layout.left_out)}", width, 2)
    if layout.cut:
        yield from _wrapped("A text that ends in … goes on: --wide, --format csv", width, 2)


def _wrapped(text: str, width: int | None, indent: int = 0) -> list[str]:
    if width is None:
        return [text]
    later = " " * indent
    return textwrap.wrap(text, width, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
