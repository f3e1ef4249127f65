"""Figure: published numbers beside ours."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import ROW_GAP
from analysis.figures.boards import boards, only
from analysis.figures.panels import Panels, left_of, optimizer_rows
from analysis.figures.style import MUTED, marker, metric_title, name, number_format, sentence, style, text
from analysis.stats.scales import fenced
from tune_qat.text.names import shown
from tune_qat.text.numbers import score


def published(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw published numbers (open) beside ours (filled): a panel per board, the trivial score as a dashed line.

    The range is that of the numbers; a trivial score beyond it is written at the edge.
    """
    found = only(answers(results).frame("published"), where).dropna(subset=["published", "optimizer"])
    if not len(found):
        return sentence("No published number for this workload is known to us.")
    parts, first = list(boards(found)), found.iloc[0]
    names = list(dict.fromkeys(found.sort_values("published", ascending=False)["optimizer"]))
    numbers = pd.concat([found["published"], found["mean"]]).astype(float)
    span = fenced(numbers, numbers) or (0.0, 1.0)
    panels = Panels(
        [label for label, _ in parts],
        x={
            "title": metric_title(first["metric"], first["unit"]),
            "tickformat": number_format(first["unit"]),
            "range": span,
            "nticks": 5,
        },
        y=optimizer_rows(names),
        columns=3,
        row_height=ROW_GAP + 26 * max(3, len(names)),
        least=300,
        left=left_of(list(map(shown, names))),
    )
    for panel, (_, rows) in enumerate(parts):
        _trivial(panels, panel, rows.iloc[0], span, len(names))
        for dot in _dots(rows):
            panels.add(panel, dot)
    return panels.figure


def _trivial(panels: Panels, panel: int, row: pd.Series, span: tuple[float, float], count: int) -> None:
    value = row["trivial"]
    if span[0] <= value <= span[1]:
        line = {"color": MUTED, "dash": "dash", "width": 1}
        panels.mark(panel, x0=value, x1=value, y0=-0.6, y1=count - 0.4, line=line)
    elif pd.notna(value):
        said = f"best constant prediction {score(value, row['unit'])}"
        panels.corner(panel, f"◂ {said}" if value < span[0] else f"{said} ▸")


def _dots(rows: pd.DataFrame) -> Iterator[go.Scatter]:
    for row in rows.itertuples():
        open_ = {**marker(row.optimizer), "color": "white", "line": {"width": 2, "color": style(row.optimizer).colour}}
        ours = f"ours, {row.n} seeds" if row.n else "ours"
        for value, drawn, said in ((row.published, open_, row.source), (row.mean, marker(row.optimizer), ours)):
            yield go.Scatter(
                x=[value],
                y=[name(row.optimizer)],
                mode="markers",
                marker=drawn,
                cliponaxis=False,
                showlegend=False,
                hovertemplate=f"{name(row.optimizer)}: %{{x}}, {text(said)}<extra></extra>",
            )
