"""Does quantization change which optimizer is best?"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import only
from analysis.figures.panels import Panels
from analysis.figures.scales import fenced
from analysis.figures.style import line, marker, metric_title, number_format, sentence, style, text

NONE = "no quantized arm"


def bit_widths(results: Results | Answers, **where: Any) -> go.Figure:
    """Mean on test data from floating point to the fewest bits, with intervals: a panel a method, a line an optimizer.

    Points stand a little apart, so that their intervals do not cover one another.
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
    )
    for panel, method in enumerate(methods):
        rows = pd.concat([control, quantized[quantized["method"] == method]])
        for place, name in enumerate(names):
            mine = rows[rows["optimizer"] == name]
            shift = 0.4 * ((place + 0.5) / len(names) - 0.5)
            panels.add(panel, _line(mine, name, widths, shift, panel == 0))
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
