"""Figure: learning curves of the chosen configurations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import suffix
from analysis.figures.boards import boards, only
from analysis.figures.direct import End, room
from analysis.figures.kept import kept
from analysis.figures.order import by_place
from analysis.figures.panels import Panels
from analysis.figures.style import faded, line, marker, metric_title, name, number_format, sentence, style
from analysis.stats.boards import BOARD
from analysis.stats.scales import floor, panel_range
from tune_qat.text.names import shown

AXES = {"epoch": "epoch", "step": "optimizer step", "device_s": "device seconds"}
SHOWN, SHADED = 10, 2
"""Most optimizers that are drawn, the best by place, and how many of a panel with their quartiles."""
MARKED = 6
"""Longest curve whose points are all marked."""


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
    """Draw the median of the validation metric over retrain seeds: a panel per board, quartiles of the best two shaded.

    Medians far worse than most leave the panel at its edge.
    """
    asked = answers(results)
    found = only(kept(learning_curve_quartiles, asked), where)
    if not len(found):
        return sentence("No retrain trial has ended.")
    names = by_place(asked, found["optimizer"], where)[:SHOWN]
    found = found[found["optimizer"].isin(names)]
    parts, first = list(boards(found)), found.iloc[0]
    sign, scores = int(first["sign"]), found["median"].astype(float)
    edge = floor(scores, sign)
    span = panel_range(edge, sign * float((sign * scores).max()))
    space = room(list(map(shown, names)))
    panels = Panels(
        [label for label, _ in parts],
        x={"title": AXES["epoch"], "range": _span(found["epoch"]), "tick0": 0, "dtick": _each(found["epoch"])},
        y={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]),
            "range": span,
        },
        columns=3,
        row_height=330,
        least=200 + space,
        room=space,
        top=100,
    )
    moved = Moved({axis: [] for axis in AXES}, {axis: {} for axis in AXES})
    for panel, (_, rows) in enumerate(parts):
        present = [one for one in names if (rows["optimizer"] == one).any()]
        shaded = set(present[:SHADED])
        for one in present[::-1]:
            mine = rows[rows["optimizer"] == one]
            for trace, back in [*([(_band(mine, one), True)] if one in shaded else []), (_median(mine, one), False)]:
                panels.add(panel, trace)
                moved.trace(mine, back)
            lost = mine[sign * mine["median"] < sign * edge]
            if len(lost):
                panels.off_scale(panel, lost["epoch"].to_list(), span[0] if sign > 0 else span[1], one, sign > 0)
                moved.trace(lost, False)
        last = [rows[rows["optimizer"] == one].iloc[-1] for one in present]
        ends = [
            End(row["epoch"], row["median"], name(one), style(one).colour)
            for one, row in zip(present, last, strict=True)
        ]
        moved.names(panels.direct(panel, ends, (span[0], span[1])), last)
    return _choices(panels.figure, moved, found, len(parts))


@dataclass(frozen=True)
class Moved:
    """Places of lines and of the names at their ends on each horizontal axis that a reader can choose."""

    lines: dict[str, list[Any]]
    texts: dict[str, dict[str, float]]

    def trace(self, rows: pd.DataFrame, back: bool) -> None:
        """Add a line over these rows, or a band, which goes there and `back`."""
        for axis, values in self.lines.items():
            ahead = rows[axis].to_numpy(float)
            values.append(np.concatenate([ahead, ahead[::-1]]) if back else ahead)

    def names(self, numbers: list[int], rows: list[pd.Series]) -> None:
        """Add the texts of these numbers, each beside the last row of its line."""
        for axis, places in self.texts.items():
            told = zip(numbers, rows, strict=True)
            places.update({f"annotations[{number}].x": float(row[axis]) for number, row in told})


def _span(values: pd.Series) -> list[float]:
    low, high = float(values.min()), float(values.max())
    return [low, high if high > low else low + 1]


def _median(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    few = len(rows) <= MARKED
    return go.Scatter(
        x=rows["epoch"].to_numpy(float),
        y=rows["median"].to_numpy(),
        name=name(optimizer),
        mode="lines+markers",
        line=line(optimizer, 1.6),
        # Of a longer curve only the last point is marked, beside its name.
        marker={
            **marker(optimizer, 7),
            "opacity": [1.0 if few or at == len(rows) - 1 else 0 for at in range(len(rows))],
        },
        cliponaxis=True,
        showlegend=False,
        customdata=rows["n"].to_numpy(),
        hovertemplate=f"{name(optimizer)}: %{{y}} at %{{x}}, median of %{{customdata}}<extra></extra>",
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


def _each(epochs: pd.Series) -> int:
    """Return the distance of ticks, so that they are at whole epochs."""
    return max(1, round(float(epochs.max()) / 6))


def _choices(figure: go.Figure, moved: Moved, found: pd.DataFrame, panels: int) -> go.Figure:
    """Add buttons that put epochs, steps or seconds on the horizontal axis."""
    title = next(n for n, said in enumerate(figure.layout.annotations) if said.text == AXES["epoch"])
    each = _each(found["epoch"])
    buttons = [
        {
            "label": label,
            "method": "update",
            "args": [
                {"x": moved.lines[axis]},
                {
                    **{f"annotations[{title}].text": label, "xaxis.range": _span(found[axis])},
                    **{f"xaxis{suffix(n)}.dtick": each if axis == "epoch" else None for n in range(panels)},
                    **moved.texts[axis],
                },
            ],
        }
        for axis, label in AXES.items()
    ]
    menu = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "yanchor": "bottom", "y": 1}
    figure.update_layout(updatemenus=[{**menu, "pad": {"b": 48}, "font": {"size": 11}, "buttons": buttons}])
    return figure
