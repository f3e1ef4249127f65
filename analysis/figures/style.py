"""Colour, dash and marker of each optimizer, the same in every figure and study, and the look that figures share."""

import hashlib
import html
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

SENTENCE = "sentence"
"""Key in `layout.meta` of a figure that consists of words alone."""

INK, MUTED, GRID = "#1a1a1a", "#5c5c5c", "#e4e4e4"

# Okabe and Ito, Color Universal Design (2008), without yellow, whose contrast on white is 1.3.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down", "pentagon", "hexagon"),
    *("bowtie", "hourglass", "star-triangle-up", "star-square", "triangle-left", "triangle-right"),
)
# The position of a name gives its style, so that new names are only added at the end.
_KNOWN = (
    *("adam", "adamw", "rmsprop", "adagrad", "adadelta", "sgd", "nesterov", "lion", "sgd_clip", "sgd_agc"),
    *("sgd_momentum", "nadam", "radam", "lamb", "adan", "ademamix", "adopt", "mars", "soap", "muon", "prodigy"),
    *("schedule_free_sgd", "schedule_free_adamw"),
)


@dataclass(frozen=True)
class Style:
    """Style of one optimizer; no two known ones share colour and dash, nor colour and marker."""

    colour: str
    dash: str
    symbol: str


def style(optimizer: str) -> Style:
    """Return the style of an optimizer by its name; an unknown one, of an imported study, gets one from its hash."""
    if optimizer in _KNOWN:
        number = _KNOWN.index(optimizer)
    else:
        number = int(hashlib.sha256(optimizer.encode()).hexdigest()[:8], 16)
    lap, place = divmod(number, len(_COLOURS))
    return Style(_COLOURS[place], _DASHES[(lap + place) % len(_DASHES)], _SYMBOLS[number % len(_SYMBOLS)])


def line(optimizer: str, width: float = 2.0) -> dict[str, Any]:
    """Return the `line` property of an optimizer's trace."""
    drawn = style(optimizer)
    return {"color": drawn.colour, "dash": drawn.dash, "width": width}


def marker(optimizer: str, size: float = 8.0) -> dict[str, Any]:
    """Return the `marker` property of an optimizer's trace."""
    drawn = style(optimizer)
    return {"color": drawn.colour, "symbol": drawn.symbol, "size": size, "line": {"width": 0.5, "color": "white"}}


def faded(colour: str, alpha: float) -> str:
    """Return a colour `#rrggbb` made transparent; `alpha` is its opacity."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def text(value: object) -> str:
    """Escape a text of the record for a figure, in which plotly would interpret tags."""
    return html.escape(str(value))


def number_format(unit: str) -> str:
    """Return the number format of a metric's axis and hover texts: fractions as percent."""
    return ".1~%" if unit == "fraction" else ".3~f"


def metric_title(metric: str, unit: str) -> str:
    """Return the title of a metric's axis."""
    return text(metric) if unit == "fraction" else f"{text(metric)} ({text(unit)})"


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
