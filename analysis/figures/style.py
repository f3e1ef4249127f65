"""Look that all figures share: lines, markers, texts, an empty figure, and a figure that is a sentence."""

import html
from typing import Any

import plotly.graph_objects as go

from analysis.figures.palette import style as style  # part of the look that figures share
from tune_qat.text.names import shown

SENTENCE = "sentence"
"""Key in `layout.meta` of a figure that consists of words alone."""

INK, MUTED, GRID = "#1a1a1a", "#5c5c5c", "#e4e4e4"


def line(optimizer: str, width: float = 2.0) -> dict[str, Any]:
    """Return the `line` property of an optimizer's trace."""
    drawn = style(optimizer)
    return {"color": drawn.colour, "dash": drawn.dash, "width": width}


def marker(optimizer: str, size: float = 8.0) -> dict[str, Any]:
    """Return the `marker` property of an optimizer's trace."""
    drawn = style(optimizer)
    width, edge = (1.5, drawn.colour) if drawn.symbol.endswith("-open") else (0.5, "white")
    return {"color": drawn.colour, "symbol": drawn.symbol, "size": size, "line": {"width": width, "color": edge}}


def faded(colour: str, alpha: float) -> str:
    """Return a colour `#rrggbb` made transparent; `alpha` is its opacity."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def text(value: object) -> str:
    """Escape a text of the record for a figure, in which plotly would interpret tags."""
    return html.escape(str(value))


def name(optimizer: str) -> str:
    """Return an optimizer as people write it, escaped for a figure."""
    return text(shown(str(optimizer)))


def number_format(unit: str) -> str:
    """Return the number format of a metric's axis and hover texts: fractions as percent."""
    return ".1~%" if unit == "fraction" else ".3~f"


def metric_title(metric: str, unit: str) -> str:
    """Return the title of a metric's axis."""
    said = text(shown(metric))
    return said if unit == "fraction" else f"{said} ({text(unit)})"


def figure(height: int = 360) -> go.Figure:
    """Return an empty figure with the shared look: little ink beside the data."""
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK}
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": MUTED, "ticks": "outside", "ticklen": 4}
    template = go.layout.Template(
        layout={
            "font": font,
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "xaxis": {**axis, "showgrid": False, "showline": True},
            "yaxis": axis,
            "hoverlabel": {"bgcolor": "white", "font": {"color": INK}},
            "legend": {
                "orientation": "h",
                "yref": "container",
                "yanchor": "top",
                "y": 0.99,
                "x": 0,
                "title": {"text": ""},
            },
            "annotationdefaults": {"font": {"size": 13, "color": INK}, "showarrow": False},
        }
    )
    return go.Figure(layout={"template": template, "height": height, "margin": {"l": 60, "r": 16, "t": 48, "b": 48}})


def sentence(words: str) -> go.Figure:
    """Return a figure that is a sentence: the reason why there is nothing to draw."""
    said = figure(height=120)
    hidden = {"visible": False}
    said.update_layout(meta={SENTENCE: words}, xaxis=hidden, yaxis=hidden, margin={"t": 16, "b": 16})
    said.add_annotation(text=text(words), x=0.5, y=0.5, xref="paper", yref="paper", font={"color": MUTED})
    return said
