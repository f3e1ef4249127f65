"""Figure: importance of hyperparameters."""

from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.arranged import ROW_GAP
from analysis.figures.boards import boards, only
from analysis.figures.interval import interval
from analysis.figures.kept import kept
from analysis.figures.order import by_place
from analysis.figures.panels import Panels, left_of, optimizer_rows
from analysis.figures.style import name, sentence, text
from analysis.stats import importances
from tune_qat.text.names import shown


def importance(results: Results | Answers, **where: Any) -> go.Figure:
    """Draw the importance of each searched hyperparameter: a panel per board and hyperparameter, a row per optimizer.

    The line is the 95 % bootstrap interval over the trials. Importances of one optimizer and board sum to 1.
    """
    table = only(kept(importances, results), where)
    found = table.dropna(subset=["importance"])
    if not len(found):
        reasons = [reason for reason in table["reason"].unique() if reason]
        return sentence(f"No importance: {reasons[0] if reasons else 'no trial has a score'}.")
    names = by_place(answers(results), found["optimizer"], where)
    parts = [
        (f"{label}: {str(parameter).replace('_', ' ')}", rows)
        for label, of_board in boards(found)
        for parameter, rows in of_board.groupby("parameter", sort=False)
    ]
    panels = Panels(
        [title for title, _ in parts],
        x={"title": "importance", "range": [-0.03, 1.03], "tickformat": ".1f"},
        y=optimizer_rows(names),
        columns=4,
        row_height=ROW_GAP + 22 * max(4, len(names)),
        least=240,
        left=left_of(list(map(shown, names))),
    )
    for panel, (_, rows) in enumerate(parts):
        for row in rows.itertuples():
            panels.add(panel, _dot(row))
    return panels.figure


def _dot(row: Any) -> go.Scatter:
    said = (
        f"{name(row.optimizer)}, {text(row.parameter)}: %{{x:.2f}} ({row.ci_low:.2f} .. {row.ci_high:.2f})<br>"
        f"{row.n} trials"
    )
    return interval(row.optimizer, row.importance, row.ci_low, row.ci_high, said)
