"""Figure: expected best score by tuning budget."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.direct import End, room
from analysis.figures.kept import kept
from analysis.figures.order import by_place
from analysis.figures.panels import Panels
from analysis.figures.style import faded, marker, metric_title, name, number_format, sentence, style
from analysis.stats import tuning_curves
from analysis.stats.scales import floor, panel_range
from tune_qat.text.names import shown

LEADING = 2
"""Curves of a panel that are drawn bold, with their bands: those with the best ends."""
BOLD, THIN = 2.5, 1.2


def tuning_budget(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the expected best validation metric after k random trials: a panel per board, the two best bold with bands.

    A curve is dotted where the better end of its band is not known. Scores far worse than most are triangles at the
    edge. The bands of all curves would overlap; hover texts have their ends.
    """
    asked = answers(results)
    found = only(kept(tuning_curves, asked), where)
    if not len(found):
        return sentence("No random trial has ended.")
    sign, scores = int(asked.frame("tuning_scores")["sign"].iloc[0]), found["expected_best"].astype(float)
    parts, first, longest = list(boards(found)), found.iloc[0], int(found["k"].max())
    edge = floor(scores, sign)
    low, high = panel_range(edge, sign * float((sign * scores).max()))
    names = by_place(asked, found["optimizer"], where)
    space = room(list(map(shown, names)))
    panels = Panels(
        [label for label, _ in parts],
        x={
            **{"title": "random trials", "type": "log", "tickvals": _ticks(longest)},
            "range": [-0.02, float(np.log10(max(2, longest)))],
        },
        y={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]),
            "range": (low, high),
        },
        columns=3,
        row_height=330,
        least=200 + space,
        room=space,
    )
    for panel, (_, rows) in enumerate(parts):
        last = rows[rows["k"] == rows.groupby("optimizer")["k"].transform("max")].set_index("optimizer")
        leading = set((sign * last["expected_best"].astype(float)).nlargest(LEADING).index)
        for one in [*(other for other in names if other not in leading), *leading]:
            for trace in _traces(rows[rows["optimizer"] == one], one, one in leading):
                panels.add(panel, trace)
            lost = rows[(rows["optimizer"] == one) & (sign * rows["expected_best"] < sign * edge)]
            panels.off_scale(panel, lost["k"].to_list(), low if sign > 0 else high, one, sign > 0)
        ends = [
            End(float(np.log10(row["k"])), row["expected_best"], name(one), style(one).colour)
            for one, row in last.iterrows()
        ]
        panels.direct(panel, ends, (low, high))
    return panels.figure


def _ticks(longest: int) -> list[int]:
    return [k for k in (1, 2, 3, 5, 8, 10, 20, 30, 50, 100) if k <= longest and (k != 8 or longest < 10)]


def _traces(rows: pd.DataFrame, optimizer: str, leads: bool) -> Iterator[go.Scatter]:
    """Yield the band of a leading curve, its part with a known band, and the rest."""
    if not len(rows):
        return
    told = rows[rows["informative"] | (rows["k"] == 1)]
    if leads:
        yield _band(told, optimizer)
    beyond = rows[rows["k"] >= told["k"].max()]
    if len(beyond) > 1:
        yield _curve(beyond, optimizer, leads, "dot")
    yield _curve(told, optimizer, leads, style(optimizer).dash)


def _curve(rows: pd.DataFrame, optimizer: str, leads: bool, dash: str) -> go.Scatter:
    return go.Scatter(
        x=rows["k"].to_numpy(),
        y=rows["expected_best"].to_numpy(float),
        mode="lines+markers",
        line={"color": style(optimizer).colour, "dash": dash, "width": BOLD if leads else THIN},
        marker=marker(optimizer, 7 if leads else 5),
        showlegend=False,
        customdata=rows[["n", "ci_low", "ci_high", "expected_best"]].to_numpy(float),
        hovertemplate=f"{name(optimizer)}: %{{customdata[3]:.4g}} expected after %{{x}} of %{{customdata[0]:.0f}}"
        " trials<br>band of the median %{customdata[1]:.4g} .. %{customdata[2]:.4g}<extra></extra>",
    )


def _band(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    known = rows.dropna(subset=["ci_low", "ci_high"])
    return go.Scatter(
        x=pd.concat([known["k"], known["k"][::-1]]).to_numpy(),
        y=pd.concat([known["ci_high"], known["ci_low"][::-1]]).to_numpy(float),
        fill="toself",
        fillcolor=faded(style(optimizer).colour, 0.12),
        line={"width": 0},
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
    )
