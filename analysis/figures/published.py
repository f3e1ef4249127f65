"""Figure: published numbers beside ours."""

from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.panels import Panels, rows_axis
from analysis.figures.style import MUTED, marker, metric_title, number_format, sentence, style, text


def published(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw published numbers (open) beside ours (filled): a panel per board, the trivial score as a dashed line."""
    found = only(answers(results).frame("published"), where).dropna(subset=["published", "optimizer"])
    if not len(found):
        return sentence("No published number for this workload is known to us.")
    parts, first = list(boards(found)), found.iloc[0]
    names = list(dict.fromkeys(found.sort_values("published")["optimizer"]))
    panels = Panels(
        [label for label, _ in parts],
        x={"title": metric_title(first["metric"], first["unit"]), "tickformat": number_format(first["unit"])},
        y=rows_axis(names),
        columns=3,
        row_height=max(140, 24 * len(names)),
        least=300,
    )
    for panel, (_, rows) in enumerate(parts):
        trivial = rows["trivial"].iloc[0]
        panels.mark(
            panel,
            x0=trivial,
            x1=trivial,
            y0=-0.6,
            y1=len(names) - 0.4,
            line={"color": MUTED, "dash": "dash", "width": 1},
        )
        for row in rows.itertuples():
            open_ = {
                **marker(row.optimizer),
                "color": "white",
                "line": {"width": 2, "color": style(row.optimizer).colour},
            }
            ours = f"ours, {row.n} seeds" if row.n else "ours"
            for value, drawn, said in ((row.published, open_, row.source), (row.mean, marker(row.optimizer), ours)):
                panels.add(
                    panel,
                    go.Scatter(
                        x=[value],
                        y=[text(row.optimizer)],
                        mode="markers",
                        marker=drawn,
                        showlegend=False,
                        hovertemplate=f"{text(row.optimizer)}: %{{x}}, {text(said)}<extra></extra>",
                    ),
                )
    return panels.figure
