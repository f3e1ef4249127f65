"""Intervals as bars of characters, one below the other on one scale."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

BAR = "[├◂]?─*●─*[┤▸]?|[◂▸]"
"""Regular expression of a bar: an interval with its ends and the mean, or an arrow to a mean off the scale."""
REFERENCE = "┊"


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale from scores to the cells of a line."""

    low: float
    high: float
    width: int

    def holds(self, value: float) -> bool:
        """Return whether a score is on the scale; one that is not known is not."""
        return self.low <= value <= self.high

    def cell(self, value: float) -> int:
        """Return the cell of a score, the first or last one for a score off the scale."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(share * (self.width - 1))


def bar(on: Scale, mean: float, low: float, high: float, references: Iterable[float] = ()) -> str:
    """Draw a mean with its interval, in as many characters as the scale has cells.

    A mean off the scale is an arrow at its edge, and so is the end of an interval; an interval shorter than a cell is
    the mean alone. Nothing is drawn of what is not known (NaN).
    """
    cells = [" "] * on.width
    for value in references:
        if on.holds(value):
            cells[on.cell(value)] = REFERENCE
    if math.isnan(mean):
        return "".join(cells)
    if not on.holds(mean):
        cells[0 if mean < on.low else -1] = "◂" if mean < on.low else "▸"
        return "".join(cells)
    if not (math.isnan(low) or math.isnan(high)):
        first, last = on.cell(low), on.cell(high)
        cells[first : last + 1] = "─" * (last + 1 - first)
        cells[first] = "├" if on.holds(low) else "◂"
        cells[last] = "┤" if on.holds(high) else "▸"
    cells[on.cell(mean)] = "●"
    return "".join(cells)


def axis(on: Scale, low: str, high: str) -> str:
    """Return the line below bars: the scores at both ends of the scale."""
    return low + " " * max(1, on.width - len(low) - len(high)) + high
