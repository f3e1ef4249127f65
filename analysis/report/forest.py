"""Forest plot of a board's leaders: means with intervals as SVG that a template draws, there without scripts."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.figures.style import style
from analysis.stats.scales import fenced
from tune_qat.text.names import shown
from tune_qat.text.numbers import bare_score, unit_name

WIDTH, ROW, TOP, BOTTOM = 440, 22, 8, 28
LEFT, RIGHT = 160.0, 384.0
"""Ends of the axis, in the units of the drawing; names stand left of it, scores right."""
MOST, LEAST = 8, 5
"""Most rows; and rows up to which those that follow the leading group are drawn."""
LONGEST = 17
"""Characters of a name before it is cut."""


@dataclass(frozen=True)
class Axis:
    """Linear axis from scores to the drawing's units."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Return where a score stands, cut to the ends of the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT), 1)

    def ticks(self) -> list[float]:
        """Return two to four round values on the axis, as far apart as two allow."""
        size = 10.0 ** math.ceil(math.log10(self.high - self.low))
        steps = (size * factor for factor in (1, 0.5, 0.2, 0.1, 0.05))
        # A step of at most half the axis is on it twice.
        return next(found for step in steps if len(found := self._multiples(step)) > 1)

    def _multiples(self, step: float) -> list[float]:
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def forest(rows: pd.DataFrame, leading: list[str], unit: str, decimals: int) -> dict[str, Any]:
    """Return the template's values of a forest plot; empty where no mean is known.

    Args:
        rows: `optimizer`, `mean`, `ci_low`, `ci_high` of a board, the best first.
        leading: optimizers of the leading group, whose marks are filled.
        unit: unit of the metric.
        decimals: decimals of the scores.
    """
    known = rows[rows["mean"].notna()].head(max(LEAST, min(MOST, len(leading) + 1)))
    ends = fenced(known["mean"], known["ci_low"].astype(float), known["ci_high"].astype(float)) if len(known) else None
    if ends is None:
        return {}
    # The leader and its interval are always there; only others may be off the scale.
    leader = [float(end) for end in known.iloc[0][["mean", "ci_low", "ci_high"]] if pd.notna(end)]
    axis = Axis(min(ends[0], *leader), max(ends[1], *leader))
    best, bottom = float(known["mean"].iloc[0]), TOP + ROW * len(known)
    factor = 100 if unit == "fraction" else 1
    ticks = Axis(factor * axis.low, factor * axis.high).ticks()
    places = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return {
        "width": WIDTH,
        "height": bottom + BOTTOM,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": bottom,
        "best": axis.x(best),
        "unit": unit_name(unit),
        "ticks": [{"x": axis.x(one / factor), "text": f"{one:.{places}f}"} for one in ticks],
        "rows": [_row(number, row, axis, leading, unit, decimals) for number, row in enumerate(known.itertuples())],
    }


def _row(number: int, row: Any, axis: Axis, leading: list[str], unit: str, decimals: int) -> dict[str, Any]:
    name = shown(str(row.optimizer))
    off = "right" if row.mean > axis.high else "left" if row.mean < axis.low else ""
    interval = pd.notna(row.ci_low) and pd.notna(row.ci_high) and not off
    return {
        "y": TOP + ROW * number + ROW / 2,
        "name": name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…",
        "title": name,
        "x": axis.x(row.mean),
        "low": axis.x(row.ci_low) if interval else None,
        "high": axis.x(row.ci_high) if interval else None,
        "off": off,
        "cut_low": bool(interval and row.ci_low < axis.low),
        "cut_high": bool(interval and row.ci_high > axis.high),
        "colour": style(str(row.optimizer)).colour,
        "leads": row.optimizer in leading,
        "score": bare_score(row.mean, unit, decimals),
    }
