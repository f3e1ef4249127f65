"""Sensitivity to the learning rate."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.panels import Panels
from analysis.figures.style import MUTED, metric_title, number_format, sentence, style, text

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def learning_rate(results: Results | Answers, **where: Any) -> go.Figure:
    """Best final validation metric by quarter decade of the learning rate: a panel for each optimizer, a line a board.

    Floating point is grey and dotted; quantized boards have the optimizer's colour, the widest a solid line.
    """
    found = only(answers(results).frame("learning_rate"), where)
    if not len(found):
        return sentence("No default, random or search trial has ended.")
    names = list(dict.fromkeys(found["optimizer"]))
    first = found.iloc[0]
    panels = Panels(
        names,
        x={"title": "learning rate", "type": "log", "dtick": 2, "exponentformat": "power"},
        y={"title": metric_title(first["metric"], first["unit"]), "tickformat": number_format(first["unit"])},
    )
    for panel, name in enumerate(names):
        for number, (label, rows) in enumerate(boards(found)):
            mine = rows[rows["optimizer"] == name].dropna(subset=["best"])
            if len(mine):
                panels.add(panel, _line(mine, name, label, number))
    return panels.figure


def _line(rows: pd.DataFrame, optimizer: str, label: str, number: int) -> go.Scatter:
    control = (rows["weight_bits"].iloc[0], rows["activation_bits"].iloc[0]) == (32, 32)
    colour = MUTED if control else style(optimizer).colour
    lost = (rows["diverged"] + rows["failed"]) >= 1
    return go.Scatter(
        x=rows["learning_rate"].to_numpy(),
        y=rows["best"].to_numpy(),
        name=text(label),
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": "dot" if control else DASHES[max(0, number - 1) % len(DASHES)]},
        marker={
            "color": "white" if control else colour,
            "line": {"color": colour, "width": 1.5},
            "size": 6,
            "symbol": ["x-thin" if gone else "circle" for gone in lost],
        },
        showlegend=False,
        customdata=rows[["n", "median", "diverged", "stopped"]].to_numpy(),
        hovertemplate=f"{text(optimizer)}, {text(label)}<br>around %{{x:.2g}}: best %{{y}}"
        "<br>median %{customdata[1]:.4g} of %{customdata[0]:.0f} trials,"
        " %{customdata[2]:.0%} diverged, %{customdata[3]:.0%} stopped<extra></extra>",
    )
