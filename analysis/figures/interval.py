"""Dot with its interval, in a panel whose rows are optimizers."""

import math

import plotly.graph_objects as go

from analysis.figures.style import marker, style, text


def interval(optimizer: str, value: float, low: float, high: float, hover: str) -> go.Scatter:
    """Draw `value` and its interval in the optimizer's row; an end that is NaN is left out.

    A bootstrap interval need not contain the value itself: that side then has no bar.
    """
    above, below = (0.0 if math.isnan(end) else max(0.0, sign * (end - value)) for end, sign in ((high, 1), (low, -1)))
    return go.Scatter(
        x=[value],
        y=[text(optimizer)],
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
        marker=marker(optimizer),
        showlegend=False,
        hovertemplate=f"{hover}<extra></extra>",
    )
