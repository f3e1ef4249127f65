"""Panels of a figure beside one another, as many as a width has room for.

The page does the same in the reader's browser (`arranged` in `report/templates/page.js`).
"""

from typing import Any

import plotly.graph_objects as go

WIDTH = 1088
"""Width of a figure on the page, where the window is wide, in pixels."""
SHARED_GAP, OWN_GAP, ROW_GAP = 22, 52, 48
"""Pixels between two panels: with one scale, with a scale each, and between two rows."""


def arranged(figure: go.Figure, width: float) -> go.Figure:
    """Return a figure of `Panels` (any other as it is) for this width in pixels: fewer columns where it is narrow."""
    panels = (figure.layout.meta or {}).get("panels")
    if panels is None:
        return figure
    count, shared = panels["count"], panels["shared"]
    columns = max(1, min(panels["columns"], int(width // panels["least"])))
    rows = -(-count // columns)
    margin = figure.layout.margin
    inner = width - margin.l - margin.r
    gap_x = min(0.5, (panels["room"] + (SHARED_GAP if shared else OWN_GAP)) / inner) if columns > 1 else 0.0
    gap_y = ROW_GAP / (rows * panels["row"])
    wide, tall = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
    layout: dict[str, Any] = {"height": rows * panels["row"] + margin.t + margin.b}
    for number in range(count):
        row, column = divmod(number, columns)
        left, high = column * (wide + gap_x), 1 - row * (tall + gap_y)
        layout[f"xaxis{suffix(number)}"] = {
            "domain": [left, min(1.0, left + wide)],
            "showticklabels": not shared or number + columns >= count,
        }
        layout[f"yaxis{suffix(number)}"] = {
            "domain": [max(0.0, high - tall), high],
            "showticklabels": not shared or column == 0,
        }
        figure.layout.annotations[number].update(x=left, y=high)
    return figure.update_layout(layout)


def suffix(number: int) -> str:
    """Return how the axes of a panel are numbered: nothing for the first, then from 2."""
    return "" if number == 0 else str(number + 1)
