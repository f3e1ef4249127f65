"""Figure: expected best score by tuning budget."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.kept import kept
from analysis.figures.panels import Panels
from analysis.figures.scales import floor, panel_range
from analysis.figures.style import faded, line, metric_title, number_format, sentence, style, text
from analysis.stats import tuning_curves


def tuning_budget(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the expected best validation metric after k random trials: a panel per board, bands of the two best shaded.

    A curve is faint where the better end of its band is not known. The bands of all curves would overlap; hover texts
    have their ends.
    """
    asked = answers(results)
    found = only(kept(tuning_curves, asked), where)
    if not len(found):
        return sentence("No random trial has ended.")
    sign, scores = int(asked.frame("tuning_scores")["sign"].iloc[0]), found["expected_best"].astype(float)
    parts, first, longest = list(boards(found)), found.iloc[0], found["k"].max()
    panels = Panels(
        [label for label, _ in parts],
        x={"title": "random trials", "type": "log", "dtick": "L1" if longest < 12 else "D2"},
        y={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]),
            "range": panel_range(floor(scores, sign), sign * float((sign * scores).max())),
        },
        columns=3,
        row_height=300,
        least=300,
        legend=True,
    )
    for panel, (_, rows) in enumerate(parts):
        ends = rows[rows["k"] == rows["k"].max()]
        leading = set((sign * ends.set_index("optimizer")["expected_best"].astype(float)).nlargest(2).index)
        for name, mine in rows.groupby("optimizer", sort=False):
            told = mine[mine["informative"] | (mine["k"] == 1)]
            beyond = mine[mine["k"] >= told["k"].max()]
            if len(beyond) > 1:
                panels.add(panel, _curve(beyond, str(name), False).update(opacity=0.3, mode="lines"))
            if name in leading:
                panels.add(panel, _band(told, str(name)))
            panels.add(panel, _curve(told, str(name), panel == 0))
    return panels.figure


def _curve(rows: pd.DataFrame, optimizer: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=rows["k"].to_numpy(),
        y=rows["expected_best"].to_numpy(float),
        name=text(optimizer),
        mode="lines+markers",
        line=line(optimizer),
        marker={"symbol": style(optimizer).symbol, "size": 6},
        legendgroup=optimizer,
        showlegend=legend,
        customdata=rows[["n", "ci_low", "ci_high"]].to_numpy(float),
        hovertemplate=f"{text(optimizer)}: %{{y}} expected after %{{x}} of %{{customdata[0]:.0f}} trials"
        "<br>band of the median %{customdata[1]:.4g} .. %{customdata[2]:.4g}<extra></extra>",
    )


def _band(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    known = rows.dropna(subset=["ci_low", "ci_high"])
    return go.Scatter(
        x=pd.concat([known["k"], known["k"][::-1]]).to_numpy(),
        y=pd.concat([known["ci_high"], known["ci_low"][::-1]]).to_numpy(float),
        fill="toself",
        fillcolor=faded(style(optimizer).colour, 0.08),
        line={"width": 0},
        mode="lines",
        legendgroup=optimizer,
        showlegend=False,
        hoverinfo="skip",
    )
