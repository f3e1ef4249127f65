"""Figures: effect of quantization on the ranking of optimizers."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.interval import interval
from analysis.figures.panels import Panels, rows_axis
from analysis.figures.scales import fenced
from analysis.figures.style import MUTED, line, marker, metric_title, number_format, sentence, style, text

NONE = "no quantized arm"


def bit_widths(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the mean on test data from floating point to the fewest bits: a panel per method, a line per optimizer.

    Points have their intervals and are shifted a little, so that these do not overlap. A mean far from all others is
    written at the edge, so that the others remain distinguishable.
    """
    found = only(answers(results).frame("leaderboard"), where).dropna(subset=["mean"])
    found = found[(found["mode"] != "joint") & found["weight_bits"].notna()]
    if not len(found):
        return sentence("No retrain trial has ended.")
    control = found[(found["weight_bits"] == 32) & (found["activation_bits"] == 32)]
    quantized = found.drop(control.index)
    methods = list(dict.fromkeys(quantized["method"])) or [NONE]
    widths = _widths(found)
    first, names = found.iloc[0], list(dict.fromkeys(found["optimizer"]))
    range_ = fenced(found["mean"], found["ci_low"], found["ci_high"])
    panels = Panels(
        methods,
        x={
            "title": "bits of weights/activations",
            "tickvals": list(widths.values()),
            "ticktext": [f"{w:g}/{a:g}" for w, a in widths],
            "range": [-0.4, len(widths) - 0.6],
        },
        y={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]),
            "range": range_,
        },
        columns=3,
        row_height=420,
        least=320,
        legend=True,
    )
    assert range_ is not None  # there are means
    inside = found["mean"].between(*range_)
    for panel, method in enumerate(methods):
        rows = pd.concat([control, quantized[quantized["method"] == method]])
        for place, name in enumerate(names):
            mine = rows[rows["optimizer"] == name]
            shift = 0.4 * ((place + 0.5) / len(names) - 0.5)
            shown = mine.assign(**{end: mine[end].where(inside[mine.index]) for end in ("ci_low", "ci_high")})
            panels.add(panel, _line(shown, name, widths, shift, panel == 0))
            for row in mine[~inside[mine.index]].itertuples():
                below = row.mean < range_[0]
                value = f"{row.mean:.1%}" if first["unit"] == "fraction" else f"{row.mean:.2f}"
                at = widths[row.weight_bits, row.activation_bits] + shift
                panels.beyond(panel, at, f"{'▼' if below else '▲'} {name} {value}", below)
    return panels.figure


def _widths(found: pd.DataFrame) -> dict[tuple[float, float], int]:
    pairs = set(zip(found["weight_bits"], found["activation_bits"], strict=True))
    return {pair: place for place, pair in enumerate(sorted(pairs, reverse=True))}


def _line(rows: pd.DataFrame, optimizer: str, widths: dict[Any, int], shift: float, legend: bool) -> go.Scatter:
    rows = rows.sort_values(["weight_bits", "activation_bits"], ascending=False)
    pairs = zip(rows["weight_bits"], rows["activation_bits"], strict=True)
    return go.Scatter(
        x=[widths[pair] + shift for pair in pairs],
        y=rows["mean"].to_numpy(float),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows["ci_high"] - rows["mean"]).to_numpy(float),
            "arrayminus": (rows["mean"] - rows["ci_low"]).to_numpy(float),
            "color": style(optimizer).colour,
            "thickness": 1.2,
            "width": 0,
        },
        name=text(optimizer),
        mode="lines+markers",
        line=line(optimizer, 1.5),
        marker=marker(optimizer),
        legendgroup=optimizer,
        showlegend=legend,
        customdata=rows[["n", "ci_low", "ci_high", "diverged"]].to_numpy(float),
        hovertemplate=f"{text(optimizer)}: %{{y}} (%{{customdata[1]:.4g}} .. %{{customdata[2]:.4g}})"
        "<br>%{customdata[0]:.0f} seeds, %{customdata[3]:.0f} diverged<extra></extra>",
    )


def quantization_effect(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw differences of differences with their intervals: a panel per board and control, a row per optimizer.

    Right of zero, quantization costs the optimizer less than it costs the reference, which is named in the title. The
    shaded band is the margin of practical equivalence.
    """
    found = only(answers(results).frame("quantization_effect"), where).dropna(subset=["gain"])
    if not len(found):
        return sentence("No optimizer has retrain trials of the same seed at 32/32 and at fewer bits.")
    parts, first = [one for board in boards(found) for one in _by_control(*board)], found.iloc[0]
    names = sorted(found["optimizer"].unique(), reverse=True)
    points = first["unit"] == "fraction"
    scale = 100.0 if points else 1.0
    panels = Panels(
        [f"{label}: beside {rows['reference'].iloc[0]}" for label, rows in parts],
        x={
            "title": f"lost less than the reference ({'percentage points' if points else text(first['unit'])})",
            "range": _around_zero(found, scale),
        },
        y=rows_axis(names),
        columns=3,
        row_height=max(140, 24 * len(names)),
        least=300,
    )
    for panel, (_, rows) in enumerate(parts):
        margin = rows["margin"].iloc[0]
        if pd.notna(margin):
            panels.shade(panel, -scale * margin, scale * margin)
        panels.mark(panel, x0=0, x1=0, y0=-0.6, y1=len(names) - 0.4, line={"color": MUTED, "width": 1})
        for row in rows.itertuples():
            panels.add(panel, _gain(row, scale))
    return panels.figure


def _by_control(label: str, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows against each control, which the label names where there are several."""
    controls = list(rows.groupby("against", sort=False))
    for against, of_control in controls:
        yield f"{label} against {against}" if len(controls) > 1 else label, of_control


def _around_zero(found: pd.DataFrame, scale: float) -> list[float]:
    """Return an axis range that contains zero and all but far-off gains; a wide interval may exceed it."""
    ends = fenced(found["gain"], found["gain_ci_low"], found["gain_ci_high"])
    assert ends is not None
    low, high = (scale * end for end in ends)
    room = 0.08 * (max(high, 0) - min(low, 0))
    return [min(low, -room), max(high, room)]


def _gain(row: Any, scale: float) -> go.Scatter:
    name, gain, low, high = text(row.optimizer), row.gain * scale, row.gain_ci_low * scale, row.gain_ci_high * scale
    said = f"95 % interval {low:.3g} .. {high:.3g}" if pd.notna(low) else "one seed: no interval"
    hover = f"{name}: %{{x:.3g}}<br>{said}, {row.n_gain} pairs of seeds"
    return interval(row.optimizer, gain, low, high, hover)
