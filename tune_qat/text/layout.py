"""Tables in lines of a given width: how wide each column is, and which have to be left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = 2
"""Blanks between two columns."""
TEXT = 24
"""Cells to which text may be cut before columns are left out; a number is never cut."""
MORE = "…"
"""Mark where columns are left out, or a text goes on."""
_LOW, _HIGH = "low", "high"
"""Ends of the names of an interval's two columns, of which one alone is none."""
_PART = re.compile(r"[^_ ]*[_ ]?")
_PART_OF_NUMBER = re.compile(r"(?<=\W)[-+]?[\d.][\d.eE+-]*$")


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table as text."""

    name: str
    cells: tuple[str, ...]
    numbers: bool
    """Whether it holds numbers: these stand right."""

    @property
    def widest(self) -> int:
        """Width of its widest cell."""
        return max(map(cell_len, self.cells), default=0)

    @property
    def least(self) -> int:
        """Width below which it is left out: a name may go over several lines, and a long text be cut."""
        name = max(cell_len(part.rstrip(" ")) for part in _PART.findall(self.name))
        return max(name, self.widest if self.numbers else min(self.widest, TEXT), 1)

    @property
    def whole(self) -> int:
        """Width with its name in one line and nothing cut."""
        return max(cell_len(self.name), self.widest, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """Table as lines, and what they do not show."""

    head: tuple[str, ...]
    """Lines of the names, and the rule below them."""
    rows: tuple[str, ...]
    left_out: tuple[str, ...]
    """Names of the columns that there is no room for."""
    cut: bool
    """Whether a text is cut."""


def lay_out(columns: Sequence[Column], width: int | None) -> Layout:
    """Return a table in lines of at most `width` cells; in lines as long as need be where that is None.

    Where not all columns have room, names go over several lines, then long texts are cut, then whole columns are left
    out, from the middle: the first ones say what a row is, and the last ones what came of it. Numbers are whole always.
    """
    whole = [column.whole for column in columns]
    if width is None or _total(whole) <= width:
        return _layout(columns, whole)
    kept, left_out = _kept(columns, width)
    return _layout(kept, _widened(kept, width), left_out)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _kept(columns: Sequence[Column], width: int) -> tuple[list[Column], tuple[str, ...]]:
    """Return the columns that have room, with a column of marks in place of the names that are returned beside them."""
    if _total([column.least for column in columns]) <= width:
        return list(columns), ()
    mark = Column(MORE, (MORE,) * len(columns[0].cells), numbers=False)
    for number in range(len(columns) - 1, 0, -1):
        first, last = (number + 1) // 2, len(columns) - number // 2
        if last < len(columns) and columns[last - 1].name.endswith(_LOW) and columns[last].name.endswith(_HIGH):
            last += 1
        kept = [*columns[:first], mark, *columns[last:]]
        if _total([column.least for column in kept]) <= width or number == 1:
            return kept, tuple(column.name for column in columns[first:last])
    return list(columns), ()


def _widened(columns: Sequence[Column], width: int) -> list[int]:
    """Set the widths of columns that have room: what is left of it goes to cut texts, then to names."""
    widths = [column.least for column in columns]
    room = max(0, width - _total(widths))
    for wanted in ([column.widest for column in columns], [column.whole for column in columns]):
        for place, wide in enumerate(wanted):
            more = min(room, max(0, wide - widths[place]))
            widths[place] += more
            room -= more
    return widths


def _layout(columns: Sequence[Column], widths: Sequence[int], left_out: tuple[str, ...] = ()) -> Layout:
    names = [_name(column.name, width) for column, width in zip(columns, widths, strict=True)]
    most = max(map(len, names), default=0)
    above = zip(*([""] * (most - len(lines)) + lines for lines in names), strict=True)
    return Layout(
        head=(*(_line(columns, widths, line) for line in above), (" " * GAP).join("─" * width for width in widths)),
        rows=tuple(_line(columns, widths, cells) for cells in zip(*(column.cells for column in columns), strict=True)),
        left_out=left_out,
        cut=any(column.widest > width for column, width in zip(columns, widths, strict=True)),
    )


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    return (" " * GAP).join(map(_cell, columns, widths, cells)).rstrip()


def _cell(column: Column, width: int, text: str) -> str:
    taken = cell_len(text)
    if taken > width and not column.numbers:
        return set_cell_size(shortened(text, width), width)
    return " " * (width - taken) + text if column.numbers else text + " " * (width - taken)


def shortened(text: str, width: int) -> str:
    """Cut a text to a width, with a mark where it goes on; a number at its end goes with the rest."""
    if cell_len(text) <= width:
        return text
    return _PART_OF_NUMBER.sub("", set_cell_size(text, width - 1).rstrip()) + MORE


def _name(name: str, width: int) -> list[str]:
    """Return a name in lines of at most this width, broken behind underscores and at blanks alone."""
    lines = [""]
    for part in _PART.findall(name):
        if lines[-1] and cell_len(lines[-1] + part.rstrip(" ")) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip(" ") for line in lines]
