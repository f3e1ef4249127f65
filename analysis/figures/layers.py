"""Figures of the quantizers, layer by layer: step size and oscillation."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import labels, only
from analysis.figures.panels import Panels
from analysis.figures.style import sentence, text

LARGEST = 60
"""Most panels of one figure: more would fill the page."""


def step_size(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the step size over that at the start, by layer and epoch: a panel per optimizer and board. Blue: shrunk."""
    return _heatmaps(
        results,
        "step_size_ratio",
        "step size / step size at the start",
        {"colorscale": "RdBu_r"},
        where,
    )


def oscillation(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the share of a layer's weights that oscillate, by layer and epoch: a panel per optimizer and board."""
    colours = {"colorscale": "Cividis_r", "zmin": 0, "tickformat": ".1%"}
    return _heatmaps(results, "oscillating", "share of oscillating weights", colours, where)


def _heatmaps(
    results: Results | Answers, column: str, title: str, colours: dict[str, Any], where: dict[str, Any]
) -> go.Figure:
    found = only(answers(results).frame("layer_quantities"), where).dropna(subset=[column])
    if not len(found):
        return sentence("No quantized retrain trial was completed with quantities of its layers.")
    ratio = column.endswith("_ratio")
    found = found.assign(
        label=labels(found),
        row=found["layer"].map(text) + found["kind"].map({"weight": "", "activation": " in"}),
        drawn=np.log2(found[column]) if ratio else found[column],
    )
    groups = list(found.groupby(["label", "optimizer"], sort=False))[:LARGEST]
    several = found["label"].nunique() > 1
    order = list(dict.fromkeys(found.sort_values(["layer_index", "kind"], ascending=[True, False])["row"]))
    panels = Panels(
        [f"{name} {label}" if several else name for (label, name), _ in groups],
        x={"title": "epoch", "showgrid": False},
        y={
            "type": "category",
            "categoryarray": order[::-1],
            "categoryorder": "array",
            "dtick": 1,
            "range": [-0.5, len(order) - 0.5],
        },
        row_height=max(120, 18 * len(order)),
        least=220,
        columns=4,
    )
    scale: dict[str, Any] = {"colorscale": colours["colorscale"]}
    bar: dict[str, Any] = {key: colours[key] for key in ("tickformat",) if key in colours}
    limits = _limits(found["drawn"], ratio)
    if ratio:
        far = 2 ** limits["cmax"]
        bar |= {"tickvals": [limits["cmin"], 0, limits["cmax"]], "ticktext": [f"1/{far:g}", "same", f"x {far:g}"]}
    panels.figure.update_layout(
        coloraxis={**scale, **limits, "colorbar": {**bar, "title": {"text": title, "side": "top"}, "orientation": "h",
                   "yref": "container", "y": 1, "yanchor": "top", "ypad": 20, "x": 1, "xanchor": "right", "len": 220,
                   "lenmode": "pixels", "thickness": 10}},
        margin={"l": 110, "t": 96},
        height=panels.figure.layout.height + 24,
    )  # fmt: skip
    for number, (_, rows) in enumerate(groups):
        panels.add(number, _heatmap(rows, order, column, title))
    return panels.figure


def _heatmap(rows: pd.DataFrame, order: list[str], column: str, title: str) -> go.Heatmap:
    drawn = rows.pivot_table(index="row", columns="epoch", values="drawn").reindex(order[::-1])
    exact = rows.pivot_table(index="row", columns="epoch", values=column).reindex(order[::-1])
    return go.Heatmap(
        x=drawn.columns.to_numpy(),
        y=list(drawn.index),
        z=drawn.to_numpy(),
        customdata=exact.to_numpy(),
        coloraxis="coloraxis",
        hovertemplate=f"%{{y}}, epoch %{{x}}: {title} %{{customdata:.4g}}<extra></extra>",
    )


def _limits(drawn: pd.Series, ratio: bool) -> dict[str, Any]:
    if not ratio:
        return {"cmin": 0.0, "cmax": float(drawn.max()) or 1.0}
    # Without the quantile, one layer whose step explodes would leave all others in one colour.
    far = max(1.0, float(np.ceil(drawn.abs().quantile(0.98))))
    return {"cmin": -far, "cmax": far}
