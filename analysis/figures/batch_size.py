"""Figure: learning rate by batch size."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import labels, only
from analysis.figures.heat import AMOUNT, AMOUNT_REVERSED, TOP, colour
from analysis.figures.kept import kept
from analysis.figures.order import by_place
from analysis.figures.panels import Panels
from analysis.figures.rates import defaults_apart, over, ticks, title
from analysis.figures.style import INK, metric_title, number_format, sentence
from analysis.stats import rate_scaling
from analysis.stats.boards import ARM, BOARD
from analysis.stats.scales import floor
from tune_qat.text.names import shown

BEST = 5
"""Optimizers that are drawn of each board, the best by place: the table has all."""
RING = "#e07b00"
"""Colour that is seen on the palest and the darkest cell."""
SIZES, RATES = 3, 2
"""Fewest batch sizes of a panel, each with so many rates or more: with fewer, there is no best rate to see."""


def batch_size(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the best validation metric by batch size and half decade of learning rate: a panel per optimizer and board.

    Drawn are the best five of each board that tried two rates or more at three batch sizes or more. Rings mark the best
    rate of each batch size; the line is the fitted power law, with its exponent p in the corner. Empty cells have no
    completed trial.
    """
    asked = answers(results)
    found = only(asked.frame("batch_size"), where)
    found = found.dropna(subset=["best", "batch_size", "learning_rate"])
    if not len(found):
        return sentence("No default, random or search trial was completed.")
    trials = only(asked.frame("tuning_scores"), where)
    defaults = defaults_apart(trials)
    found = found.assign(label=labels(found), rate=over(found["learning_rate"], found["optimizer"], defaults))
    fits = only(kept(rate_scaling, asked), where)
    names = by_place(asked, found["optimizer"], where)
    groups = [group for _, board in found.groupby(BOARD, sort=False, dropna=False) for group in _best_of(board, names)]
    if not groups:
        return sentence(f"No optimizer tried {RATES} learning rates or more at {SIZES} batch sizes or more.")
    drawn = pd.concat(groups)
    panels = _empty(groups, drawn, defaults, several=found["label"].nunique() > 1)
    _colour(panels, drawn, int(trials["sign"].iloc[0]))
    for panel, rows in enumerate(groups):
        scale = defaults.get(rows["optimizer"].iloc[0], 1.0)
        panels.add(panel, _cells(rows))
        panels.add(panel, _rings(rows, scale))
        fit = _fit(fits, tuple(rows[ARM].iloc[0]))
        if fit is not None and not math.isnan(fit.exponent):
            panels.add(panel, _law(rows, fit, scale))
            panels.corner(panel, _exponent(fit))
    return panels.figure


def _best_of(board: pd.DataFrame, names: list[str]) -> list[pd.DataFrame]:
    """Return the rows of the best optimizers of a board in which there is something to see, by place."""
    each = [board[board["optimizer"] == one] for one in names]
    return [rows for rows in each if (rows.groupby("batch_size").size() >= RATES).sum() >= SIZES][:BEST]


def _empty(groups: list[pd.DataFrame], drawn: pd.DataFrame, defaults: Mapping[str, float], several: bool) -> Panels:
    sizes, powers = sorted(drawn["batch_size"].unique()), np.log10(drawn["rate"])
    words = ticks(drawn["rate"], defaults)
    said = [(shown(rows["optimizer"].iloc[0]), rows["label"].iloc[0]) for rows in groups]
    return Panels(
        [f"{name} {label}" if several else name for name, label in said],
        x={
            "title": "batch size",
            "tickvals": np.log2(sizes),
            # Every second is written where all would touch one another.
            "ticktext": [f"{size:g}" if len(sizes) < 5 or not n % 2 else "" for n, size in enumerate(sizes)],
            "range": [math.log2(sizes[0]) - 0.6, math.log2(sizes[-1]) + 0.6],
        },
        y={
            "title": title(defaults),
            **{"tickvals": np.log10(words["tickvals"]), "ticktext": words["ticktext"]},
            "range": [powers.min() - 0.4, powers.max() + 0.4],
        },
        left=78,
        top=TOP,
    )


def _colour(panels: Panels, drawn: pd.DataFrame, sign: int) -> None:
    """Give all panels one colour axis: better is darker."""
    scores, first = drawn["best"].astype(float), drawn.iloc[0]
    low, high = sorted((floor(scores, sign), sign * float((sign * scores).max())))
    title, form = f"best {metric_title(first['metric'], first['unit'])}", number_format(first["unit"])
    colour(panels, title, AMOUNT if sign > 0 else AMOUNT_REVERSED, low, high, tickformat=form)


def _exponent(fit: Any) -> str:
    interval = "" if math.isnan(fit.ci_low) else f" ({fit.ci_low:.1f} .. {fit.ci_high:.1f})"
    return f"p = {fit.exponent:.1f}{interval}"


def _fit(fits: pd.DataFrame, key: tuple[Any, ...]) -> Any:
    mine = only(fits, dict(zip(ARM, key, strict=True)))
    return next(mine.itertuples(), None)


def _cells(rows: pd.DataFrame) -> go.Heatmap:
    x, y = np.log2(rows["batch_size"]).to_numpy(float), np.log10(rows["rate"]).to_numpy(float)
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


def _rings(rows: pd.DataFrame, scale: float) -> go.Scatter:
    best = rows.drop_duplicates("batch_size").dropna(subset=["best_learning_rate"])
    return go.Scatter(
        x=np.log2(best["batch_size"]).to_numpy(float),
        y=np.log10(best["best_learning_rate"] / scale).to_numpy(float),
        mode="markers",
        marker={"symbol": "circle-open", "size": 9, "color": RING, "line": {"width": 2}},
        showlegend=False,
        customdata=best[["batch_size", "best_learning_rate"]].to_numpy(float),
        hovertemplate="best at batch size %{customdata[0]}: %{customdata[1]:.3g}<extra></extra>",
    )


def _law(rows: pd.DataFrame, fit: Any, scale: float) -> go.Scatter:
    ends = np.array([rows["batch_size"].min(), rows["batch_size"].max()], float)
    return go.Scatter(
        x=np.log2(ends),
        y=fit.intercept + fit.exponent * np.log10(ends) - math.log10(scale),
        mode="lines",
        line={"color": INK, "width": 1.5},
        showlegend=False,
        hoverinfo="skip",
    )
