"""Figures: effect of quantization on the ranking of optimizers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import ROW_GAP
from analysis.figures.bits import DODGED, PAIR, pairs_of, panels_by_bits, places_of
from analysis.figures.boards import boards, only
from analysis.figures.direct import End
from analysis.figures.interval import interval
from analysis.figures.order import by_place
from analysis.figures.panels import Panels, left_of, optimizer_rows
from analysis.figures.style import MUTED, line, marker, name, sentence, style, text
from analysis.stats.boards import is_worsened
from analysis.stats.scales import fenced
from tune_qat.text.names import shown
from tune_qat.text.numbers import score

NONE = "no quantized arm"
MEDIAN, OTHER = "the median of the board", "the other optimizer"
"""References that are no optimizer, as the question names them."""


def bit_widths(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the mean on test data from floating point to the fewest bits: a panel per method, a line per optimizer.

    Points have their intervals. Beside one another at the same bits they stand on level pieces of their lines, so that
    two lines cross only where the order of the two changes. A mean far from all others is a triangle at the edge, so
    that the others remain distinguishable.
    """
    asked = answers(results)
    found = only(asked.frame("leaderboard"), where).dropna(subset=["mean"])
    found = found[(found["mode"] != "joint") & found["weight_bits"].notna()]
    # Those from a worsened start are a second control at the same bits, for `quantization_effect` alone.
    found = found[~found["method"].map(is_worsened).astype(bool)]
    if not len(found):
        return sentence("No retrain trial has ended.")
    control = found[(found["weight_bits"] == 32) & (found["activation_bits"] == 32)]
    quantized = found.drop(control.index)
    methods = list(dict.fromkeys(quantized["method"])) or [NONE]
    widths, names = places_of(found), by_place(asked, found["optimizer"], where)
    first, range_ = found.iloc[0], fenced(found["mean"], found["ci_low"], found["ci_high"])
    assert range_ is not None  # there are means
    last = found.sort_values(PAIR, ascending=False).groupby("optimizer").tail(1)
    said = [_said(row, range_) for row in last.itertuples()]
    panels = panels_by_bits(methods, widths, metric=first["metric"], unit=first["unit"], fence=range_, names=said)
    for panel, method in enumerate(methods):
        rows, ends = pd.concat([control, quantized[quantized["method"] == method]]), []
        for place, one in enumerate(names):
            mine = rows[rows["optimizer"] == one].sort_values(PAIR, ascending=False)
            if not len(mine):
                continue
            shift = DODGED * (2 * (place + 0.5) / len(names) - 1)
            at = np.array([widths[pair] for pair in pairs_of(mine)], float)
            drawn = mine.assign(at=at, drawn=mine["mean"].clip(*range_), inside=mine["mean"].between(*range_))
            panels.add(panel, _run(drawn, one))
            panels.add(panel, _points(drawn.assign(at=at + shift), one))
            end = next(drawn.tail(1).itertuples())
            ends.append(End(end.at + DODGED, end.drawn, text(_said(end, range_)), style(one).colour))
        panels.direct(panel, ends, range_)
    return panels.figure


def _said(row: Any, span: tuple[float, float]) -> str:
    """Return what is written at the end of an optimizer's line: its name, and its mean if that is off the scale."""
    name = shown(row.optimizer)
    if span[0] <= row.mean <= span[1]:
        return name
    return f"{name} {'▼' if row.mean < span[0] else '▲'} {score(row.mean, row.unit)}"


def _run(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    """Draw the line through an optimizer's means, level around each pair of bits."""
    x = np.column_stack([rows["at"] - DODGED, rows["at"] + DODGED]).ravel()
    y = np.repeat(rows["drawn"].to_numpy(float), 2)
    return go.Scatter(x=x, y=y, mode="lines", line=line(optimizer, 1.2), showlegend=False, hoverinfo="skip")


def _points(rows: pd.DataFrame, optimizer: str) -> go.Scatter:
    drawn = marker(optimizer)
    symbols = np.where(rows["mean"] < rows["drawn"], "triangle-down", "triangle-up")
    drawn["symbol"] = np.where(rows["inside"], drawn["symbol"], symbols)
    bars = rows[["ci_low", "ci_high"]].where(rows["inside"])
    return go.Scatter(
        x=rows["at"].to_numpy(),
        y=rows["drawn"].to_numpy(float),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (bars["ci_high"] - rows["mean"]).to_numpy(float),
            "arrayminus": (rows["mean"] - bars["ci_low"]).to_numpy(float),
            "color": style(optimizer).colour,
            "thickness": 1.2,
            "width": 0,
        },
        name=name(optimizer),
        mode="markers",
        marker=drawn,
        cliponaxis=False,
        showlegend=False,
        customdata=rows[["n", "ci_low", "ci_high", "diverged", "mean"]].to_numpy(float),
        hovertemplate=f"{name(optimizer)}: %{{customdata[4]:.4g}} (%{{customdata[1]:.4g}} .. %{{customdata[2]:.4g}})"
        "<br>%{customdata[0]:.0f} seeds, %{customdata[3]:.0f} diverged<extra></extra>",
    )


def quantization_effect(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw differences of differences with their intervals: a panel per board and control, a row per optimizer.

    Right of zero, quantization costs the optimizer less than it costs the reference, which is named in the title. The
    shaded band is the margin of practical equivalence.
    """
    asked = answers(results)
    found = only(asked.frame("quantization_effect"), where).dropna(subset=["gain"])
    if not len(found):
        return sentence("No optimizer has retrain trials of the same seed at 32/32 and at fewer bits.")
    parts, first = [one for board in boards(found) for one in _by_control(*board)], found.iloc[0]
    names = by_place(asked, found["optimizer"], where)
    points = first["unit"] == "fraction"
    scale = 100.0 if points else 1.0
    span = _around_zero(found, scale)
    panels = Panels(
        [f"{label}, beside {_reference(rows['reference'].iloc[0])}" for label, rows in parts],
        x={"title": f"◂ lost more   {'points' if points else text(first['unit'])}   lost less ▸", "range": span},
        y=optimizer_rows(names),
        columns=3,
        row_height=ROW_GAP + 24 * max(4, len(names)),
        least=300,
        left=left_of(list(map(shown, names))),
    )
    for panel, (_, rows) in enumerate(parts):
        margin = rows["margin"].iloc[0]
        if pd.notna(margin):
            panels.shade(panel, -scale * margin, scale * margin)
        panels.mark(panel, x0=0, x1=0, y0=-0.6, y1=len(names) - 0.4, line={"color": MUTED, "width": 1})
        for row in rows.itertuples():
            panels.add(panel, _gain(row, scale, span))
    return panels.figure


def _reference(name: str) -> str:
    return {MEDIAN: "the median", OTHER: "the other"}.get(name) or shown(name)


def _by_control(label: str, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows against each control, which the label names where there are several."""
    controls = list(rows.groupby("against", sort=False))
    for against, of_control in controls:
        yield f"{label} against {against}" if len(controls) > 1 else label, of_control


def _around_zero(found: pd.DataFrame, scale: float) -> tuple[float, float]:
    """Return an axis range that contains zero and all but far-off gains; a wide interval may exceed it."""
    ends = fenced(found["gain"], found["gain_ci_low"], found["gain_ci_high"])
    assert ends is not None
    low, high = (scale * end for end in ends)
    room = 0.08 * (max(high, 0) - min(low, 0))
    return min(low, -room), max(high, room)


def _gain(row: Any, scale: float, span: tuple[float, float]) -> go.Scatter:
    gain, low, high = row.gain * scale, row.gain_ci_low * scale, row.gain_ci_high * scale
    said = f"95 % interval {low:.3g} .. {high:.3g}" if pd.notna(low) else "one seed: no interval"
    hover = f"{name(row.optimizer)}: {gain:.3g}<br>{said}, {row.n_gain} pairs of seeds"
    return interval(row.optimizer, gain, low, high, hover, span)
