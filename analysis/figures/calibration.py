"""Figure: what calibration alone costs, and what training wins back."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.bits import PAIR, pairs_of, panels_by_bits, places_of
from analysis.figures.boards import only
from analysis.figures.direct import End
from analysis.figures.order import by_place
from analysis.figures.style import INK, MUTED, line, marker, name, sentence
from analysis.stats.scales import fenced
from tune_qat.text.names import shown

START, ALONE = "floating point", "calibrated only"


def calibration(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw scores on test data by bits: the start, calibrated only, and trained, a panel per method.

    The distance from the start down to the calibrated model is what calibration alone costs, that from there up to an
    optimizer what its training wins back. Calibrated models are those that its trials began with, and differ between
    optimizers by their batch sizes: the line is their mean.
    """
    asked = answers(results)
    found = only(asked.frame("calibration"), where)
    if not len(found):
        return sentence("No calibrated model has been evaluated: stages.calibrated = true adds them.")
    is_float = (found["weight_bits"] == 32) & (found["activation_bits"] == 32)
    methods = list(dict.fromkeys(found[~is_float]["method"])) or ["none"]
    widths, names = places_of(found), by_place(asked, found["optimizer"], where)
    first = found.iloc[0]
    ends = pd.concat([found["start"], found["calibrated"], found["trained"]]).dropna()
    fence = fenced(ends, ends, ends)
    words = [START, ALONE, *map(shown, names)]
    panels = panels_by_bits(methods, widths, metric=first["metric"], unit=first["unit"], fence=fence, names=words)
    for panel, method in enumerate(methods):
        traces = list(_traces(found[is_float | (found["method"] == method)], widths, names))
        for trace in traces:
            panels.add(panel, trace)
        told = [End(one.x[-1], one.y[-1], one.name, one.line.color) for one in traces if len(one.x)]
        if fence is not None:
            panels.direct(panel, told, fence)
    return panels.figure


def _traces(rows: pd.DataFrame, widths: dict[Any, int], names: list[str]) -> Iterator[go.Scatter]:
    starts = rows["start"].dropna()
    level = [float(starts.mean())] if len(starts) else []
    yield _points(START, [0] * len(level), level, {"color": INK, "dash": "dot", "width": 1.5})
    quantized = rows[(rows["weight_bits"] != 32) | (rows["activation_bits"] != 32)]
    alone = quantized.groupby(PAIR, sort=False)["calibrated"].mean().dropna().sort_index(ascending=False)
    places = [widths[pair] for pair in alone.index]
    yield _points(ALONE, places, alone.to_list(), {"color": MUTED, "dash": "dash", "width": 1.5})
    for optimizer in names:
        mine = rows[rows["optimizer"] == optimizer].dropna(subset=["trained"]).sort_values(PAIR, ascending=False)
        places = [widths[pair] for pair in pairs_of(mine)]
        trace = _points(name(optimizer), places, mine["trained"].to_list(), line(optimizer, 1.5))
        yield trace.update(marker=marker(optimizer))


def _points(said: str, x: list[int], y: list[float], drawn: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        name=said,
        mode="lines+markers",
        line=drawn,
        marker={"color": drawn["color"], "symbol": "line-ew-open", "size": 14},
        showlegend=False,
        hovertemplate=f"{said}: %{{y}}<extra></extra>",
    )
