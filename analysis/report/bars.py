"""Interval bars of a leaderboard as SVG, which is visible without scripts."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from analysis.figures.style import INK, MUTED, style
from analysis.stats.scales import fenced

WIDTH, HEIGHT, MARGIN = 240, 20, 8
_DASHES = {"solid": "", "dash": "6 3", "dot": "2 2", "dashdot": "6 2 2 2", "longdash": "9 3"}


@dataclass(frozen=True)
class Scale:
    """Scale from scores to pixels; far-off scores are off the scale, so that the others remain distinguishable."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Return the distance from the left of the bar, in pixels."""
        return MARGIN + (value - self.low) / (self.high - self.low) * (WIDTH - 2 * MARGIN)

    def holds(self, value: float) -> bool:
        """Return whether the value is on the scale."""
        return bool(self.low <= value <= self.high)


def scale(means: pd.Series, lows: pd.Series, highs: pd.Series) -> Scale | None:
    """Return the scale of a board, without far-off means; None where no mean is known."""
    ends = fenced(means, lows, highs)
    return Scale(*ends) if ends else None


def bar(on: Scale, mean: float, low: float, high: float, optimizer: str, references: dict[str, float]) -> Markup:
    """Draw a mean with its interval, and thin lines at reference scores; a mean off the scale is a triangle."""
    parts = [
        f'<line x1="{on.x(value):.1f}" x2="{on.x(value):.1f}" y1="0" y2="{HEIGHT}" stroke="{MUTED}" '
        'stroke-dasharray="2 2"/>'
        for value in references.values()
        if on.holds(value)
    ]
    colour, middle = style(optimizer).colour, HEIGHT / 2
    if pd.isna(mean):
        return _svg(parts)
    if not on.holds(mean):
        right = mean > on.high
        tip, base = (WIDTH - 1, WIDTH - 8) if right else (1, 8)
        parts.append(f'<path d="M{tip} {middle}L{base} {middle - 5}V{middle + 5}Z" fill="{colour}"/>')
        return _svg(parts)
    if pd.notna(low) and pd.notna(high):
        left, right_x = max(on.x(low), 0.0), min(on.x(high), float(WIDTH))
        parts.append(
            f'<line x1="{left:.1f}" x2="{right_x:.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="4" '
            'stroke-linecap="butt" opacity="0.55"/>'
        )
    parts.append(f'<circle cx="{on.x(mean):.1f}" cy="{middle}" r="4" fill="{colour}" stroke="{INK}"/>')
    return _svg(parts)


def swatch(optimizer: str) -> Markup:
    """Draw a sample of the optimizer's line, as in the figures."""
    drawn = style(optimizer)
    return Markup(
        f'<svg class="swatch" width="28" height="10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" '
        f'stroke="{drawn.colour}" stroke-width="3" stroke-dasharray="{_DASHES[drawn.dash]}"/></svg>'
    )


def _svg(parts: list[str]) -> Markup:
    # Safe as markup: it consists of numbers and colours, and contains no text of the record.
    inner = "".join(parts)
    return Markup(f'<svg class="bar" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{inner}</svg>')
