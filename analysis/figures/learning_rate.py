"""Figure: sensitivity to the learning rate."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.kept import kept
from analysis.figures.panels import Panels
from analysis.figures.scales import floor, panel_range
from analysis.figures.style import MUTED, faded, metric_title, number_format, sentence, style, text
from analysis.stats import learning_rate_envelope
from tune_qat.config.statuses import COMPLETED

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
POINTS = 1_500
"""Most trials in one figure: the best of each optimizer and board, and others spread over its learning rates."""


def learning_rate(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the final validation metric by learning rate: a panel per optimizer, its envelope as a line per board.

    Floating point is grey; quantized boards have the optimizer's colour. A cross is a trial that diverged or failed and
    counts as the trivial score. Scores far worse than most are drawn at the edge of the panel. A tick at the bottom is
    the optimizer's default. Of very many trials not all are drawn; the envelope is over all of them.
    """
    asked = answers(results)
    trials = only(asked.frame("tuning_scores"), where).dropna(subset=["score", "learning_rate"])
    if not len(trials):
        return sentence("No default, random or search trial was completed.")
    names, first = list(dict.fromkeys(trials["optimizer"])), trials.iloc[0]
    sign, done = int(first["sign"]), trials.loc[trials["status"] == COMPLETED, "score"]
    edge = floor(done if len(done) else trials["score"], sign)
    best = sign * float((sign * trials["score"]).max())
    envelope = only(kept(learning_rate_envelope, asked), where)
    trials = trials.assign(drawn=sign * (sign * trials["score"]).clip(lower=sign * edge))
    envelope = envelope.assign(drawn=sign * (sign * envelope["best"].astype(float)).clip(lower=sign * edge))
    parts, lines = list(boards(trials)), list(boards(envelope))
    panels = Panels(
        names,
        x={"title": "learning rate", "type": "log", "dtick": 3, "exponentformat": "power"},
        y={
            "title": f"{metric_title(first['metric'], first['unit'])}: {_key(lines)}",
            "tickformat": number_format(first["unit"]),
            "range": panel_range(edge, best),
        },
    )
    cells = max(1, trials.groupby([*names_of_boards(trials), "optimizer"]).ngroups)
    for panel, name in enumerate(names):
        for label, rows in parts:
            mine = rows[rows["optimizer"] == name]
            if len(mine):
                panels.add(panel, _points(thinned(mine, max(8, POINTS // cells)), name, label))
        for number, (label, rows) in enumerate(lines):
            mine = rows[rows["optimizer"] == name]
            if len(mine):
                panels.add(panel, _line(mine, name, label, number))
        for default in trials.loc[trials["optimizer"] == name, "default_learning_rate"].dropna().unique()[:1]:
            at = {
                "x0": default,
                "x1": default,
                "y0": 0,
                "y1": 0.06,
                "yref": f"y{'' if not panel else panel + 1} domain",
            }
            panels.mark(panel, **at, line={"color": MUTED, "width": 2})
    return panels.figure


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
    """Return the key to the lines: colour or dash of each board."""
    said = [
        f"{'grey' if _control(rows) else DASHES[max(0, number - 1) % len(DASHES)]} {text(label)}"
        for number, (label, rows) in enumerate(lines)
    ]
    return ", ".join(said)


def _control(rows: pd.DataFrame) -> bool:
    return bool((rows["weight_bits"].iloc[0], rows["activation_bits"].iloc[0]) == (32, 32))


def _points(rows: pd.DataFrame, optimizer: str, label: str) -> go.Scatter:
    colour = MUTED if _control(rows) else style(optimizer).colour
    lost = rows["status"] != COMPLETED
    return go.Scatter(
        x=rows["learning_rate"].to_numpy(),
        y=rows["drawn"].to_numpy(float),
        mode="markers",
        marker={
            "size": 5,
            "color": faded(colour, 0.35),
            "symbol": ["x-thin" if gone else "circle" for gone in lost],
            "line": {"width": [1.2 if gone else 0 for gone in lost], "color": faded(colour, 0.6)},
        },
        showlegend=False,
        customdata=rows[["trial_key", "batch_size", "status", "score"]].to_numpy(),
        hovertemplate=f"{text(optimizer)}, {text(label)}<br>%{{x:.3g}}, batch %{{customdata[1]}}:"
        " %{customdata[3]:.4g}<br>%{customdata[2]}, trial %{customdata[0]}<extra></extra>",
    )


def _line(rows: pd.DataFrame, optimizer: str, label: str, number: int) -> go.Scatter:
    control = _control(rows)
    return go.Scatter(
        x=rows["learning_rate"].to_numpy(),
        y=rows["drawn"].to_numpy(float),
        mode="lines",
        line={
            "color": MUTED if control else style(optimizer).colour,
            "width": 1.8,
            "dash": "dot" if control else DASHES[max(0, number - 1) % len(DASHES)],
        },
        showlegend=False,
        name=text(label),
        hovertemplate=f"{text(optimizer)}, {text(label)}<br>best of %{{customdata[0]}} around %{{x:.2g}}:"
        " %{customdata[1]:.4g}<extra></extra>",
        customdata=rows[["n", "best"]].to_numpy(float),
    )
