"""Figure: sensitivity to the learning rate."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import suffix
from analysis.figures.boards import boards, only
from analysis.figures.kept import kept
from analysis.figures.order import by_place
from analysis.figures.panels import Panels
from analysis.figures.rates import defaults_apart, over, ticks, title
from analysis.figures.style import MUTED, faded, metric_title, name, number_format, sentence, style, text
from analysis.stats import learning_rate_envelope
from analysis.stats.scales import floor, panel_range
from tune_qat.config.statuses import COMPLETED
from tune_qat.text.names import shown
from tune_qat.text.numbers import rate

GLYPHS = {"solid": "━━", "dash": "╍╍", "dot": "┈┈", "dashdot": "━·━", "longdash": "━ ━"}
DASHES = tuple(GLYPHS)
POINTS = 1_500
"""Most trials in one figure: the best of each optimizer and board, and others spread over its learning rates."""


def learning_rate(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the final validation metric by learning rate: a panel per optimizer, its envelope as a line per board.

    Rates are over the optimizer's default where the defaults lie decades apart. Floating point is grey; quantized
    boards have the optimizer's colour. A cross is a trial that diverged or failed and counts as the trivial score, a
    triangle one whose score is far worse than most. A tick at the bottom is the optimizer's default. Of very many
    trials not all are drawn; the envelope is over all of them.
    """
    asked = answers(results)
    trials = only(asked.frame("tuning_scores"), where).dropna(subset=["score", "learning_rate"])
    if not len(trials):
        return sentence("No default, random or search trial was completed.")
    names, first = by_place(asked, trials["optimizer"], where), trials.iloc[0]
    sign, done, defaults = int(first["sign"]), trials["status"] == COMPLETED, defaults_apart(trials)
    edge = floor(trials.loc[done, "score"] if done.any() else trials["score"], sign)
    best = sign * float((sign * trials["score"]).max())
    trials, envelope = (
        rows.assign(
            rate=over(rows["learning_rate"], rows["optimizer"], defaults),
            drawn=sign * (sign * rows[score].astype(float)).clip(lower=sign * edge),
            off=sign * rows[score].astype(float) < sign * edge,
        )
        for rows, score in ((trials, "score"), (only(kept(learning_rate_envelope, asked), where), "best"))
    )
    parts, lines = list(boards(trials)), list(boards(envelope))
    panels = Panels(
        [shown(one) for one in names],
        x={"title": title(defaults), "type": "log", **ticks(trials["rate"], defaults)},
        y={
            "title": f"{_key(lines)}<br>{metric_title(first['metric'], first['unit'])}",
            "tickformat": number_format(first["unit"]),
            "range": panel_range(edge, best),
        },
        top=64,
        details=[rate(defaults[one]) for one in names] if defaults else (),
    )
    most = max(8, POINTS // max(1, trials.groupby([*names_of_boards(trials), "optimizer"]).ngroups))
    for panel, one in enumerate(names):
        for label, rows in parts:
            if len(mine := rows[rows["optimizer"] == one]):
                panels.add(panel, _points(thinned(mine, most), one, label))
        for number, (label, rows) in enumerate(lines):
            if len(mine := rows[rows["optimizer"] == one]):
                panels.add(panel, _line(mine, one, label, number))
        _default(panels, panel, trials[trials["optimizer"] == one])
    return panels.figure


def _default(panels: Panels, panel: int, rows: pd.DataFrame) -> None:
    """Mark the optimizer's default at the bottom of its panel."""
    known = rows.dropna(subset=["default_learning_rate"])
    for row in known.head(1).itertuples():
        at = row.default_learning_rate * row.rate / row.learning_rate
        line = {"x0": at, "x1": at, "y0": 0, "y1": 0.06, "yref": f"y{suffix(panel)} domain"}
        panels.mark(panel, **line, line={"color": MUTED, "width": 2})


def names_of_boards(frame: pd.DataFrame) -> list[str]:
    """Return the columns that identify a board in this frame."""
    return [name for name in ("study_id", "workload", "method", "weight_bits", "activation_bits") if name in frame]


def thinned(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many trials: half of them the best, the others evenly spread over the learning rates."""
    if len(trials) <= most:
        return trials
    ordered = trials.assign(objective=trials["sign"] * trials["score"])
    best = ordered.nlargest(most // 2, "objective")
    rest = ordered.drop(best.index).sort_values("learning_rate")
    return pd.concat([best, rest.iloc[np.linspace(0, len(rest) - 1, most - len(best)).astype(int)]])


def _key(lines: list[tuple[str, pd.DataFrame]]) -> str:
    """Return the key to the lines: a piece of each board's line, and the board."""
    said = [
        f'<span style="color:{MUTED}">{GLYPHS["dot"]}</span> {text(label)}'
        if _control(rows)
        else f"{GLYPHS[_dash(number)]} {text(label)}"
        for number, (label, rows) in enumerate(lines)
    ]
    return "   ".join(said)


def _dash(number: int) -> str:
    return DASHES[max(0, number - 1) % len(DASHES)]


def _control(rows: pd.DataFrame) -> bool:
    return bool((rows["weight_bits"].iloc[0], rows["activation_bits"].iloc[0]) == (32, 32))


def _points(rows: pd.DataFrame, optimizer: str, label: str) -> go.Scatter:
    colour = MUTED if _control(rows) else style(optimizer).colour
    lost = rows["status"] != COMPLETED
    return go.Scatter(
        x=rows["rate"].to_numpy(),
        y=rows["drawn"].to_numpy(float),
        mode="markers",
        marker={
            "size": 5,
            "color": faded(colour, 0.35),
            "symbol": np.where(lost, "x-thin", np.where(rows["off"], "triangle-down", "circle")),
            "line": {"width": np.where(lost, 1.2, 0), "color": faded(colour, 0.6)},
        },
        cliponaxis=False,
        showlegend=False,
        customdata=rows[["trial_key", "batch_size", "status", "score", "learning_rate"]].to_numpy(),
        hovertemplate=f"{name(optimizer)}, {text(label)}<br>%{{customdata[4]:.3g}}, batch %{{customdata[1]}}:"
        " %{customdata[3]:.4g}<br>%{customdata[2]}, trial %{customdata[0]}<extra></extra>",
    )


def _line(rows: pd.DataFrame, optimizer: str, label: str, number: int) -> go.Scatter:
    control = _control(rows)
    return go.Scatter(
        x=rows["rate"].to_numpy(),
        y=rows["drawn"].to_numpy(float),
        mode="lines",
        line={
            "color": MUTED if control else style(optimizer).colour,
            "width": 1.8,
            "dash": "dot" if control else _dash(number),
        },
        showlegend=False,
        hovertemplate=f"{name(optimizer)}, {text(label)}<br>best of %{{customdata[0]}} around %{{customdata[2]:.2g}}:"
        " %{customdata[1]:.4g}<extra></extra>",
        customdata=rows[["n", "best", "learning_rate"]].to_numpy(float),
    )
