"""Figure: parallel coordinates of the searched values and the metric."""

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.direct import End, room
from analysis.figures.panels import Panels
from analysis.figures.style import MUTED, faded, metric_title, name, sentence, style, text
from analysis.stats.scales import floor
from tune_qat.config.statuses import RANDOM
from tune_qat.text.names import shown

TOP = 0.1
"""Share of the trials that are coloured: the best ones."""
LINES = 150
"""Most trials drawn in a panel: the coloured ones first, the others evenly spread over the scores."""
DIMENSIONS = ("learning_rate", "batch_size", "weight_decay", "momentum", "max_norm", "clip_factor")
SPAN = (-0.12, 1.04)
"""Range of the vertical direction, in which every axis reaches from 0 to 1."""
POWERS = 3.0
"""Ratio of largest to smallest value above which an axis is logarithmic."""


def parallel_coordinates(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw each trial as a line over the searched values and the score: a panel per board, the best tenth in colour.

    A score far worse than most lies at the worse end of its axis. If the study has random trials, only they are drawn,
    since a sampler's trials crowd where it looks; else all trials with a score.
    """
    trials = only(answers(results).frame("tuning_scores"), where).dropna(subset=["score"])
    if (trials["stage"] == RANDOM).any():
        trials = trials[trials["stage"] == RANDOM]
    if not len(trials):
        return sentence("No default, random or search trial was completed.")
    parts = list(boards(trials))
    first = trials.iloc[0]
    panels = Panels(
        [label for label, _ in parts],
        x={"title": "", "showgrid": False, "showline": False, "ticks": ""},
        y={"title": "", "visible": False, "range": SPAN, "fixedrange": True},
        columns=2,
        row_height=320,
        least=420,
        shared=False,
        room=room(list(map(shown, trials["optimizer"].unique()))),
    )
    for panel, (_, rows) in enumerate(parts):
        _draw(panels, panel, _chosen(rows), metric_title(first["metric"], first["unit"]))
    return panels.figure


def _chosen(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.assign(objective=rows["sign"] * rows["score"]).sort_values("objective", ascending=False)
    top = max(1, round(TOP * len(ordered)))
    best = ordered.head(min(top, LINES // 2)).assign(top=True)
    rest = ordered.iloc[top:]
    if len(rest) > LINES - len(best):
        rest = rest.iloc[np.linspace(0, len(rest) - 1, LINES - len(best)).astype(int)]
    drawn = pd.concat([rest.assign(top=False), best])
    sign = int(rows["sign"].iloc[0])
    drawn["drawn"] = sign * (sign * drawn["score"]).clip(lower=sign * floor(rows["score"], sign))
    values = drawn["params_json"].map(json.loads)
    for one in DIMENSIONS[2:]:
        drawn[one] = pd.to_numeric(values.map(lambda of, one=one: of.get(one)), errors="coerce")
    return drawn


def _draw(panels: Panels, panel: int, rows: pd.DataFrame, metric: str) -> None:
    searched = [name for name in DIMENSIONS if rows[name].notna().any() and rows[name].nunique() > 1]
    axes = [
        *(Axis(rows[name]) for name in searched),
        Axis(rows["drawn"], ".1%" if rows["unit"].iloc[0] == "fraction" else ".4g"),
    ]
    places = np.column_stack([axis.places for axis in axes])
    ticks = list(range(len(axes)))
    titles = [*(name.replace("_", "<br>") for name in searched), metric]
    suffix = "" if panel == 0 else panel + 1
    panels.figure.layout[f"xaxis{suffix}"].update(
        tickvals=ticks, ticktext=titles, range=[-0.3, len(axes) - 1], showticklabels=True
    )
    for at, axis in enumerate(axes):
        panels.mark(panel, x0=at, x1=at, y0=0, y1=1, line={"color": MUTED, "width": 1}, layer="below")
        for end, value in ((0, axis.low), (1, axis.high)):
            panels.note(panel, at, end, value, "right" if at == len(searched) else "center")
    top = rows["top"].to_numpy()
    panels.add(panel, _lines(rows[~top], places[~top], ""))
    ends = []
    for one in dict.fromkeys(rows.loc[top, "optimizer"]):
        mine = top & (rows["optimizer"] == one).to_numpy()
        panels.add(panel, _lines(rows[mine], places[mine], one))
        ends.append(End(len(axes) - 1, float(places[mine][:, -1].mean()), name(one), style(one).colour))
    panels.direct(panel, ends, SPAN)


class Axis:
    """Vertical axis: the places of its values between 0 and 1, and the labels of its ends."""

    def __init__(self, values: pd.Series, form: str = ".3g") -> None:
        known = values.astype(float)
        log = bool((known.dropna() > 0).all() and known.max() / known.min() > POWERS)
        drawn = np.log10(known) if log else known
        low, high = drawn.min(), drawn.max()
        self.places = ((drawn - low) / ((high - low) or 1.0)).to_numpy()
        self.low, self.high = format(known.min(), form), format(known.max(), form)


def _lines(rows: pd.DataFrame, places: Any, optimizer: str) -> go.Scatter:
    width = places.shape[1] + 1  # a gap after each line
    x = np.tile(np.append(np.arange(width - 1, dtype=float), np.nan), len(rows))
    y = np.column_stack([places, np.full(len(rows), np.nan)]).ravel()
    said = [
        f"{name(row.optimizer)}: {row.score:.4g}, learning rate {row.learning_rate:.3g}, batch {row.batch_size:g}"
        f"<br>trial {text(row.trial_key)}"
        for row in rows.itertuples()
    ]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": style(optimizer).colour, "dash": style(optimizer).dash, "width": 1.6}
        if optimizer
        else {"color": faded(MUTED, 0.25), "width": 0.8},
        name=name(optimizer) or "other trials",
        showlegend=False,
        text=np.repeat(said, width).tolist() if optimizer else None,
        hoverinfo="text" if optimizer else "skip",
    )
