"""Figure: what accuracy costs, in bytes of weights and in bit operations."""

import math
from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import bits, only
from analysis.figures.panels import Panels
from analysis.figures.style import INK, MUTED, faded, marker, metric_title, number_format, sentence, text
from analysis.stats.scales import fenced
from tune_qat.text.names import shown

COSTS = (("weight_bytes", "by_bytes", "bytes of weights"), ("bit_operations", "by_bit_operations", "bit operations"))
"""Column of the cost, column of what is said of a point by it, and words for the axis, of each panel."""
TRAINED, ALONE, START = "trained", "calibrated only", "start"
FAINT = 0.35


def pareto(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw test scores with their intervals against bytes of weights, and against bit operations, both logarithmic.

    A point is a scheme, trained by the optimizer that does best on validation data, or calibrated only. Those that
    another point of no more cost beats by the whole interval are faint; the line joins points that none beats.
    """
    found = only(answers(results).frame("pareto"), where)
    if not len(found):
        return sentence("The record has no costs of its models: tune-qat cost RESULTS works them out.")
    first = found.iloc[0]
    found = found.assign(
        label=[_label(row, several=found["method"].nunique() > 2) for row in found.itertuples()],
        low=found["ci_low"].fillna(found["mean"]),
        high=found["ci_high"].fillna(found["mean"]),
    )
    fence = fenced(found["mean"], found["low"], found["high"])
    panels = Panels(
        [words for _, _, words in COSTS],
        x={"type": "log", "showgrid": True, "exponentformat": "SI", "dtick": "D2"},
        y={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]).replace(".1", ".2"),
            "range": fence,
        },
        columns=2,
        row_height=380,
        least=300,
        shared=False,
    )
    for panel, (cost, said, words) in enumerate(COSTS):
        front = found[found[said] == "front"].sort_values(cost)
        look = {"color": MUTED, "width": 1, "shape": "hv"}
        panels.add(panel, go.Scatter(x=front[cost], y=front["mean"], mode="lines", line=look, hoverinfo="skip"))
        middle = math.sqrt(found[cost].min() * found[cost].max())
        for row in found.itertuples():
            at = getattr(row, cost)
            one = _point(row, at, words, faint=getattr(row, said) == "dominated", left=at > middle)
            panels.add(panel, one if fence is None or fence[0] <= row.mean <= fence[1] else _at_edge(one, fence))
    panels.figure.update_layout(showlegend=False)
    return panels.figure


def _label(row: Any, *, several: bool) -> str:
    """Return the bits of a point, its method where the figure has several, and how it was made if not trained."""
    words = [bits(row), *([shown(row.method)] if several and row.method != "none" else [])]
    return " ".join([*words, *([] if row.point == TRAINED else [row.point])])


def _point(row: Any, cost: float, words: str, *, faint: bool, left: bool) -> go.Scatter:
    look: dict[str, Any] = {"color": INK if row.point == START else MUTED, "symbol": "line-ew-open", "size": 12}
    look = marker(row.optimizer, 9) if row.point == TRAINED else look
    seen = FAINT if faint else 1.0
    bars = {"array": [row.high - row.mean], "arrayminus": [row.mean - row.low], "color": faded(look["color"], seen)}
    height, side = "top" if row.point == TRAINED else "bottom", "left" if left else "right"
    by = f", {shown(row.optimizer)}" if row.point == TRAINED else ""
    return go.Scatter(
        x=[cost],
        y=[row.mean],
        text=[text(row.label)],
        mode="markers+text",
        textposition=f"{height} {side}",
        textfont={"size": 10, "color": MUTED},
        marker={**look, "opacity": seen},
        error_y={"type": "data", "symmetric": False, "thickness": 1.5, "width": 0, **bars},
        customdata=[row.mean],
        hovertemplate=f"{text(row.label)}{text(by)}: %{{customdata:.4~g}} at %{{x:.4s}} {words}<extra></extra>",
    )


def _at_edge(point: go.Scatter, fence: tuple[float, float]) -> go.Scatter:
    """Return a point that lies off the scale as a triangle at its edge, which points to it."""
    below = point.y[0] < fence[0]
    point.update(y=[fence[0] if below else fence[1]], error_y=None, cliponaxis=False)
    point.update(textposition=point.textposition.replace("bottom", "top") if below else point.textposition)
    return point.update(marker={"symbol": "triangle-down" if below else "triangle-up", "size": 8})
