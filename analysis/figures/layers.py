"""Figures of the quantizers, layer by layer: step size and oscillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import labels, only
from analysis.figures.heat import AMOUNT, CHANGE, TOP, colour
from analysis.figures.order import by_place
from analysis.figures.panels import Panels, left_of, rows_axis
from analysis.figures.style import sentence, text
from tune_qat.text.names import shown

LARGEST = 60
"""Most panels of one figure: more would fill the page."""


@dataclass(frozen=True)
class Quantity:
    """Column of `layer_quantities`, and how it is drawn."""

    column: str
    title: str
    least: float
    """Least that a panel has to show somewhere: of a ratio, its logarithm to base 2 up or down."""
    still: str
    """Words for panels that show less, and are left out."""
    ratio: bool = False

    def drawn(self, values: pd.Series) -> pd.Series:
        """Return the values that colours stand for."""
        return np.log2(values) if self.ratio else values


STEP_SIZE = Quantity("step_size_ratio", "step size over that at the start", 0.07, "No step size changed by 5 %", True)
OSCILLATION = Quantity(
    "oscillating", "share of oscillating weights", 0.01, "Less than 1 % of a layer's weights oscillate"
)


def step_size(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the step size over that at the start, by layer and epoch: a panel per optimizer and board. Blue: shrunk."""
    return _heatmaps(results, STEP_SIZE, where)


def oscillation(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the share of a layer's weights that oscillate, by layer and epoch: a panel per optimizer and board."""
    return _heatmaps(results, OSCILLATION, where)


def _heatmaps(results: Results | Answers, quantity: Quantity, where: dict[str, Any]) -> go.Figure:
    asked = answers(results)
    found = only(asked.frame("layer_quantities"), where).dropna(subset=[quantity.column])
    if not len(found):
        return sentence("No quantized retrain trial was completed with quantities of its layers.")
    found = found.assign(
        label=labels(found),
        row=found["layer"].map(text) + found["kind"].map(_of_layer),
        drawn=quantity.drawn(found[quantity.column]),
    )
    names, several = by_place(asked, found["optimizer"], where), found["label"].nunique() > 1
    groups = [
        (f"{shown(one)} {label}" if several else shown(one), rows)
        for label, of_board in found.groupby("label", sort=False)
        for one in names
        if len(rows := of_board[of_board["optimizer"] == one])
    ]
    moving = [(title, rows) for title, rows in groups if rows["drawn"].abs().max() >= quantity.least][:LARGEST]
    still = [title for title, rows in groups if rows["drawn"].abs().max() < quantity.least]
    left_out = f"{quantity.still}: {', '.join(still)}." if still else ""
    if not moving:
        return sentence(left_out)
    order = list(dict.fromkeys(found.sort_values(["layer_index", "kind"], ascending=[True, False])["row"]))
    panels = _empty([title for title, _ in moving], order, left_out)
    _colour(panels, found["drawn"], quantity)
    for number, (_, rows) in enumerate(moving):
        panels.add(number, _heatmap(rows, order, quantity))
    return panels.figure


def _of_layer(kind: str) -> str:
    """Return what stands behind a layer's name: nothing for its weights; of attention, the operand of its product."""
    return {"weight": "", "activation": " in"}.get(kind, f" {kind}")


def _empty(titles: Sequence[str], layers: Sequence[str], note: str) -> Panels:
    return Panels(
        titles,
        x={"title": "epoch", "showgrid": False},
        y={**rows_axis(layers), "range": [len(layers) - 0.5, -0.5]},
        row_height=max(120, 18 * len(layers)),
        least=175,
        columns=4,
        left=left_of(layers),
        top=TOP,
        note=note,
    )


def _colour(panels: Panels, drawn: pd.Series, quantity: Quantity) -> None:
    if not quantity.ratio:
        return colour(panels, quantity.title, AMOUNT, 0.0, float(drawn.max()) or 1.0, tickformat=".0%")
    # Without the quantile, one layer whose step explodes would leave all others in one colour.
    far = max(1.0, float(np.ceil(drawn.abs().quantile(0.98))))
    words = {"tickvals": [-far, 0, far], "ticktext": [f"÷{2**far:g}", "same", f"×{2**far:g}"]}
    return colour(panels, quantity.title, CHANGE, -far, far, **words)


def _heatmap(rows: pd.DataFrame, order: list[str], quantity: Quantity) -> go.Heatmap:
    drawn = rows.pivot_table(index="row", columns="epoch", values="drawn").reindex(order)
    exact = rows.pivot_table(index="row", columns="epoch", values=quantity.column).reindex(order)
    return go.Heatmap(
        x=drawn.columns.to_numpy(),
        y=list(drawn.index),
        z=drawn.to_numpy(),
        customdata=exact.to_numpy(),
        coloraxis="coloraxis",
        hovertemplate=f"%{{y}}, epoch %{{x}}: {quantity.title} %{{customdata:.4g}}<extra></extra>",
    )
