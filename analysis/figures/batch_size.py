"""Figure: learning rate by batch size."""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import labels, only
from analysis.figures.kept import kept
from analysis.figures.panels import Panels
from analysis.figures.scales import floor
from analysis.figures.style import INK, MUTED, number_format, sentence, text
from analysis.stats import rate_scaling
from analysis.stats.boards import ARM

LARGEST = 60
"""Most panels of one figure."""


def batch_size(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the best validation metric by batch size and half decade of learning rate: a panel per optimizer and board.

    Rings mark the best rate of each batch size; the line is the fitted power law, with its exponent p in the corner.
    Empty cells have no completed trial.
    """
    asked = answers(results)
    found = only(asked.frame("batch_size"), where)
    found = found.dropna(subset=["best", "batch_size", "learning_rate"])
    if not len(found):
        return sentence("No default, random or search trial was completed.")
    found = found.assign(label=labels(found))
    fits = only(kept(rate_scaling, asked), where)
    groups = list(found.groupby([*ARM, "label"], sort=False, dropna=False))[:LARGEST]
    several, first = found["label"].nunique() > 1, found.iloc[0]
    fitted = [_fit(fits, key[: len(ARM)]) for key, _ in groups]
    sizes = sorted(found["batch_size"].unique())
    panels = Panels(
        [f"{key[-2]} {key[-1]}" if several else key[-2] for key, _ in groups],
        x={
            "title": "batch size",
            "tickvals": np.log2(sizes),
            "ticktext": [str(size) for size in sizes],
            "range": [math.log2(sizes[0]) - 0.6, math.log2(sizes[-1]) + 0.6],
        },
        y={"title": "learning rate", "tickvals": list(range(-9, 4)), "ticktext": [f"1e{n}" for n in range(-9, 4)]},
        shared=False,
    )
    sign, scores = int(asked.frame("tuning_scores")["sign"].iloc[0]), found["best"].astype(float)
    low, high = sorted((floor(scores, sign), sign * float((sign * scores).max())))
    panels.figure.update_layout(
        margin={"t": 96},
        height=panels.figure.layout.height + 24,
        coloraxis={
            "colorscale": "Cividis" if sign > 0 else "Cividis_r",
            "cmin": low,
            "cmax": high,
            "colorbar": {
                "orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "ypad": 20, "x": 1,
                "xanchor": "right", "len": 220, "lenmode": "pixels", "thickness": 10,
                "title": {"text": text(first["metric"]), "side": "top"}, "tickformat": number_format(first["unit"]),
                "nticks": 4,
            },
        },
    )  # fmt: skip
    for panel, ((_, rows), fit) in enumerate(zip(groups, fitted, strict=True)):
        panels.add(panel, _cells(rows))
        panels.add(panel, _best(rows))
        if fit is not None and not math.isnan(fit.exponent):
            panels.add(panel, _law(rows, fit))
            panels.corner(panel, _exponent(fit))
    return panels.figure


def _exponent(fit: Any) -> str:
    interval = "" if math.isnan(fit.ci_low) else f" ({fit.ci_low:.1f} .. {fit.ci_high:.1f})"
    return f"p = {fit.exponent:.1f}{interval}"


def _fit(fits: pd.DataFrame, key: tuple[Any, ...]) -> Any:
    mine = only(fits, dict(zip(ARM, key, strict=True)))
    return next(mine.itertuples(), None)


def _cells(rows: pd.DataFrame) -> go.Heatmap:
    x, y = np.log2(rows["batch_size"]).to_numpy(float), np.log10(rows["learning_rate"]).to_numpy(float)
    columns, lines = np.unique(x), np.arange(y.min(), y.max() + 0.25, 0.5)
    cells = np.full((len(lines), len(columns)), np.nan)
    trials = np.zeros_like(cells)
    at = (np.round((y - y.min()) * 2).astype(int), np.searchsorted(columns, x))
    cells[at], trials[at] = rows["best"].to_numpy(float), rows["n"].to_numpy(float)
    return go.Heatmap(
        x=columns,
        y=lines,
        z=cells,
        customdata=trials,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="best %{z} of %{customdata} trials<extra></extra>",
    )


def _best(rows: pd.DataFrame) -> go.Scatter:
    best = rows.drop_duplicates("batch_size").dropna(subset=["best_learning_rate"])
    return go.Scatter(
        x=np.log2(best["batch_size"]).to_numpy(float),
        y=np.log10(best["best_learning_rate"]).to_numpy(float),
        mode="markers",
        marker={"symbol": "circle-open", "size": 9, "color": INK, "line": {"width": 2}},
        showlegend=False,
        customdata=best[["batch_size", "best_learning_rate"]].to_numpy(float),
        hovertemplate="best at batch size %{customdata[0]}: %{customdata[1]:.3g}<extra></extra>",
    )


def _law(rows: pd.DataFrame, fit: Any) -> go.Scatter:
    ends = np.array([rows["batch_size"].min(), rows["batch_size"].max()], float)
    return go.Scatter(
        x=np.log2(ends),
        y=fit.intercept + fit.exponent * np.log10(ends),
        mode="lines",
        line={"color": MUTED, "width": 1.5},
        showlegend=False,
        hoverinfo="skip",
    )
