"""Colour scales of heat maps: one for amounts, from pale to dark, and one for what grew or shrank; and their key."""

from typing import Any

from analysis.figures.panels import Panels
from analysis.figures.style import MUTED

Scale = list[tuple[float, str]]
AMOUNT: Scale = [(0.0, "#e8eef5"), (0.25, "#a9c4de"), (0.5, "#5f93c2"), (0.75, "#2a5f96"), (1.0, "#0b2545")]
"""More is darker; an empty cell is white, and paler than the least amount."""
AMOUNT_REVERSED: Scale = [(1.0 - at, colour) for at, colour in AMOUNT[::-1]]
CHANGE = "RdBu_r"
TOP = 92
"""Pixels above the panels, which hold the key."""
_LENGTH, _WORDS = 200, 18


def colour(panels: Panels, title: str, scale: Any, low: float, high: float, **bar: Any) -> None:
    """Give all panels one colour axis, with its key at the top right: `title`, which is escaped, and `bar`."""
    place = {"yref": "container", "y": 1, "yanchor": "top", "ypad": _WORDS, "x": 1, "xanchor": "right", "xpad": 0}
    look = {"orientation": "h", "len": _LENGTH, "lenmode": "pixels", "thickness": 10, "tickangle": 0, "nticks": 4}
    key = {**place, **look, "tickfont": {"size": 11}, "outlinewidth": 0, **bar}
    panels.figure.update_layout(coloraxis={"colorscale": scale, "cmin": low, "cmax": high, "colorbar": key})
    above = {
        "x": 1,
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "right",
        "yanchor": "top",
        "yshift": panels.figure.layout.margin.t - 2,
    }
    panels.figure.add_annotation(text=title, showarrow=False, font={"size": 11, "color": MUTED}, **above)
