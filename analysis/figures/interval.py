"""Dot with its interval, in a panel whose rows are optimizers."""

import math

import plotly.graph_objects as go

from analysis.figures.style import marker, name, style


def interval(
    optimizer: str, value: float, low: float, high: float, hover: str, span: tuple[float, float] | None = None
) -> go.Scatter:
    """Draw `value` and its interval in the optimizer's row; an end that is NaN is left out.

    A bootstrap interval need not contain the value itself: that side then has no bar. A value beyond `span`, the range
    of the axis, is a triangle at the edge that points to it.
    """
    above, below = (0.0 if math.isnan(end) else max(0.0, sign * (end - value)) for end, sign in ((high, 1), (low, -1)))
    drawn, off = marker(optimizer), span is not None and not span[0] <= value <= span[1]
    at = value
    if span is not None and off:
        at = min(max(value, span[0]), span[1])
        drawn["symbol"], above, below = "triangle-left" if value < at else "triangle-right", 0.0, 0.0
    return go.Scatter(
        x=[at],
        y=[name(optimizer)],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [above],
            "arrayminus": [below],
            "color": style(optimizer).colour,
            "thickness": 2,
            "width": 0,
        },
        mode="markers",
        marker=drawn,
        cliponaxis=False,
        showlegend=False,
        hovertemplate=f"{hover}<extra></extra>",
    )
