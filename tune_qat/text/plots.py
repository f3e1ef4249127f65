"""Plots in the terminal: plotille draws lines in dots of Braille and marks in cells, axes are put around them here.

plotille has been kept since 2017, needs no other package and holds no state between plots, and a mark may be any
character: so that series are told apart without colours, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import plotille

Range = tuple[float, float]
BELOW, ABOVE = "v", "^"
"""Marks on the edge of what lies off the scale."""
_EMPTY = "\u2800"
_DOTS = (2, 4)
"""Dots of a cell across and down."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Label at a value of an axis."""

    value: float
    label: str


class Plot:
    """Plotting area of so many cells over a range of x and one of y, smaller ends first."""

    def __init__(self, width: int, height: int, x: Range, y: Range) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        # The canvas leaves out its upper ends, which are a dot further on.
        (x_low, x_high), (y_low, y_high) = x, y
        across, down = width * _DOTS[0], height * _DOTS[1]
        self._canvas = plotille.Canvas(
            width=width,
            height=height,
            xmin=x_low,
            ymin=y_low,
            xmax=x_low + (x_high - x_low) * across / (across - 1),
            ymax=y_low + (y_high - y_low) * down / (down - 1),
        )

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Draw a line through points; where it leaves the range, it runs along its edge."""
        points = [(x, self._inside(y)) for x, y in zip(xs, ys, strict=True)]
        for (x0, y0), (x1, y1) in pairwise(points):
            self._canvas.line(x0, y0, x1, y1)

    def marks(self, xs: Sequence[float], ys: Sequence[float], mark: str, *, edge: bool = False) -> None:
        """Draw a character at each point, over what is there.

        A point off the scale is at its edge, where `BELOW` or `ABOVE` says so, or the mark itself where `edge`.
        """
        for x, y in zip(xs, ys, strict=True):
            off = "" if edge else BELOW if y < self.y[0] else ABOVE if y > self.y[1] else ""
            self._canvas.point(x, self._inside(y), marker=off or mark)

    def rows(self) -> list[str]:
        """Return the lines of the plotting area, from the top, each as wide as it is."""
        return str(self._canvas.plot(linesep="\n")).replace(_EMPTY, " ").split("\n")

    def row(self, y: float) -> int:
        """Return the line in which a value is, counted from the top."""
        _, dots = self._canvas.dots_between(self.x[0], self.y[0], self.x[0], self._inside(y))
        return self.height - 1 - dots // _DOTS[1]

    def _inside(self, y: float) -> float:
        return min(max(y, self.y[0]), self.y[1])


def framed(plot: Plot, ticks: Sequence[Tick]) -> list[str]:
    """Return a plot with its left and lower axes: two lines more and a column more, all lines of the same width.

    Ticks without room for their labels are left out.
    """
    axis, labels, free = ["─"] * plot.width, [" "] * (plot.width + 1), 0
    for tick in ticks:
        cell = round((tick.value - plot.x[0]) / (plot.x[1] - plot.x[0]) * (plot.width - 1))
        # A label is under its tick, as far as the edges allow.
        start = min(max(cell + 1 - len(tick.label) // 2, 0), plot.width + 1 - len(tick.label))
        if start < free:
            continue
        axis[cell] = "┴"
        labels[start : start + len(tick.label)] = tick.label
        free = start + len(tick.label) + 1
    return [*("│" + row for row in plot.rows()), "└" + "".join(axis), "".join(labels)]
