"""Figure: how often training diverges."""

from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import ROW_GAP
from analysis.figures.boards import boards, only
from analysis.figures.interval import interval
from analysis.figures.order import by_place
from analysis.figures.panels import Panels, left_of, optimizer_rows
from analysis.figures.style import name, sentence
from tune_qat.text.names import shown


def divergence(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the share of diverged tuning trials with its Wilson interval: a panel per board, a row per optimizer."""
    asked = answers(results)
    found = only(asked.frame("divergence"), where)
    if not len(found):
        return sentence("No default, random or search trial has ended.")
    names = by_place(asked, found["optimizer"], where)
    parts = list(boards(found))
    panels = Panels(
        [label for label, _ in parts],
        x={"title": "share of trials that diverged", "tickformat": ".0%", "range": [-0.02, 1.02], "dtick": 0.5},
        y=optimizer_rows(names),
        columns=4,
        row_height=ROW_GAP + 22 * max(4, len(names)),
        least=240,
        left=left_of(list(map(shown, names))),
    )
    for number, (_, rows) in enumerate(parts):
        for row in rows.itertuples():
            said = (
                f"{name(row.optimizer)}: {row.diverged} of {row.n} diverged, %{{x:.1%}}<br>"
                f"95 % interval {row.ci_low:.1%} .. {row.ci_high:.1%}"
            )
            panels.add(number, interval(row.optimizer, row.rate, row.ci_low, row.ci_high, said))
    return panels.figure
