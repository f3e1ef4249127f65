"""Figure: learning curves of the chosen configurations."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.kept import kept
from analysis.figures.panels import Panels
from analysis.figures.style import faded, line, metric_title, number_format, sentence, style, text
from analysis.stats.boards import BOARD

AXES = {"epoch": "epoch", "step": "optimizer step", "device_s": "device seconds"}
SHOWN = 10
"""Optimizers drawn at first; a click in the legend shows the others."""


def learning_curve_quartiles(results: Results | Answers) -> pd.DataFrame:
    """Compute median and quartiles of the validation metric over an arm's retrain trials, after each epoch.

    A trial that diverged counts as the trivial score from then on. `step` and `device_s` are medians over the trials
    that reached the epoch; quartiles of a single trial are NULL.
    """
    rows = answers(results).frame("learning_curves")
    keys = [*BOARD, "optimizer", "epoch", "metric", "unit", "sign"]
    grouped = rows.groupby(keys, sort=False, dropna=False)
    table = grouped.agg(
        n=("score", "size"), median=("score", "median"), step=("step", "median"), device_s=("device_s", "median")
    )
    table = table.assign(q25=grouped["score"].quantile(0.25), q75=grouped["score"].quantile(0.75)).reset_index()
    table.loc[table["n"] < 2, ["q25", "q75"]] = np.nan
    return table


def learning_curves(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the median of the validation metric over retrain seeds, quartiles shaded: a panel per board."""
    found = only(kept(learning_curve_quartiles, results), where)
    if not len(found):
        return sentence("No retrain trial has ended.")
    last = found[found["epoch"] == found.groupby("optimizer")["epoch"].transform("max")]
    order = (last["sign"] * last["median"]).groupby(last["optimizer"]).mean().sort_values(ascending=False).index
    parts, first = list(boards(found)), found.iloc[0]
    panels = Panels(
        [label for label, _ in parts],
        x={"title": AXES["epoch"], "rangemode": "tozero"},
        y={"title": metric_title(first["metric"], first["unit"]), "tickformat": number_format(first["unit"])},
        columns=3,
        row_height=300,
        least=300,
        legend=True,
    )
    by_axis: dict[str, list[Any]] = {axis: [] for axis in AXES}
    for panel, (_, rows) in enumerate(parts):
        for place, name in enumerate(order):
            mine = rows[rows["optimizer"] == name]
            if not len(mine):
                continue
            visible: Any = True if place < SHOWN else "legendonly"
            for trace, back in ((_band(mine, name), True), (_median(mine, name, panel == 0), False)):
                trace.update(visible=visible, legendgroup=name)
                panels.add(panel, trace)
                for axis, values in by_axis.items():
                    ahead = mine[axis].to_numpy(float)
                    values.append(np.concatenate([ahead, ahead[::-1]]) if back else ahead)
    return _choices(panels.figure, by_axis)


def _median(rows: pd.DataFrame, optimizer: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=rows["epoch"].to_numpy(float),
        y=rows["median"].to_numpy(),
        name=text(optimizer),
        mode="lines",
        line=line(optimizer),
        showlegend=legend,
        customdata=rows["n"].to_numpy(),
        hovertemplate=f"{text(optimizer)}: %{{y}} at %{{x}}, median of %{{customdata}}<extra></extra>",
    )


def _band(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([rows["epoch"], rows["epoch"][::-1]]).astype(float),
        y=np.concatenate([rows["q75"], rows["q25"][::-1]]),
        fill="toself",
        fillcolor=faded(style(optimizer).colour, 0.15),
        line={"width": 0},
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
    )


def _choices(figure: go.Figure, by_axis: dict[str, list[Any]]) -> go.Figure:
    """Add buttons that put epochs, steps or seconds on the horizontal axis."""
    title = next(n for n, said in enumerate(figure.layout.annotations) if said.text == AXES["epoch"])
    buttons = [
        {
            "label": label,
            "method": "update",
            "args": [{"x": by_axis[axis]}, {f"annotations[{title}].text": label}],
        }
        for axis, label in AXES.items()
    ]
    menu = {"type": "buttons", "direction": "right", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"}
    figure.update_layout(updatemenus=[{**menu, "pad": {"b": 28}, "buttons": buttons, "showactive": True}])
    return figure
