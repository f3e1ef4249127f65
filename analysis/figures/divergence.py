"""Figure: how often training diverges."""

from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import boards, only
from analysis.figures.interval import interval
from analysis.figures.panels import Panels, rows_axis
from analysis.figures.style import sentence, text


def divergence(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the share of diverged tuning trials with its Wilson interval: a panel per board, a row per optimizer."""
    found = only(answers(results).frame("divergence"), where)
    if not len(found):
        return sentence("No default, random or search trial has ended.")
    names = sorted(found["optimizer"].unique(), reverse=True)
    parts = list(boards(found))
    panels = Panels(
        [label for label, _ in parts],
        x={"title": "share of trials that diverged", "tickformat": ".0%", "range": [-0.02, 1.02], "dtick": 0.5},
        y=rows_axis(names),
        columns=4,
        row_height=max(120, 22 * len(names)),
        least=240,
    )
    for number, (_, rows) in enumerate(parts):
        for row in rows.itertuples():
            said = (
                f"{text(row.optimizer)}: {row.diverged} of {row.n} diverged, %{{x:.1%}}<br>"
                f"95 % interval {row.ci_low:.1%} .. {row.ci_high:.1%}"
            )
            panels.add(number, interval(row.optimizer, row.rate, row.ci_low, row.ci_high, said))
    return panels.figure
