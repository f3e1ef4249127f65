"""Figure: critical-difference diagram of mean ranks over blocks."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.kept import kept
from analysis.figures.panels import rows_axis
from analysis.figures.style import INK, figure, marker, sentence, text
from analysis.stats import mean_ranks, rank_comparisons


def critical_differences(results: Results | Answers, **_: Any) -> go.Figure:
    """Draw the mean rank of each optimizer over all blocks; a bar joins those that cannot be told apart.

    A block is a workload at one bit width. With fewer blocks than a test of ranks needs, the figure is a sentence.
    """
    asked = answers(results)
    ranks = kept(mean_ranks, asked)
    if not len(ranks):
        return sentence("No optimizer has a retrain score in every block.")
    if ranks["reason"].iloc[0]:
        return sentence(f"No diagram: {ranks['reason'].iloc[0]}.")
    names = list(ranks["optimizer"])
    drawn = figure(height=110 + 26 * len(names))
    for row in ranks.itertuples():
        drawn.add_trace(
            go.Scatter(
                x=[row.mean_rank],
                y=[text(row.optimizer)],
                mode="markers",
                marker=marker(row.optimizer, 10),
                showlegend=False,
                hovertemplate=f"{text(row.optimizer)}: mean rank %{{x:.2f}} over {row.blocks} blocks<extra></extra>",
            )
        )
    last = float(ranks["mean_rank"].max())
    groups = _groups(names, kept(rank_comparisons, asked))
    for number, (first, end) in enumerate(groups):
        at = last + 0.25 + 0.15 * number
        line = {"color": INK, "width": 4}
        # Rows are counted from the bottom, names from the top.
        drawn.add_shape(type="line", x0=at, x1=at, y0=len(names) - 1 - first, y1=len(names) - 1 - end, line=line)
    drawn.update_layout(
        xaxis={
            "title": {"text": f"mean rank over {ranks['blocks'].iloc[0]} blocks (1 is best)"},
            "range": [float(ranks["mean_rank"].min()) - 0.2, last + 0.3 + 0.15 * len(groups)],
        },
        yaxis=rows_axis(names[::-1]),
        margin={"l": 120, "t": 16},
    )
    return drawn


def _groups(names: list[str], pairs: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the indices of first and last name of each maximal run in which no two names differ significantly."""
    apart = {frozenset((row.a, row.b)) for row in pairs.itertuples() if row.apart}
    groups: list[tuple[int, int]] = []
    for first in range(len(names)):
        end = first
        while end + 1 < len(names) and not any(
            frozenset((names[place], names[end + 1])) in apart for place in range(first, end + 1)
        ):
            end += 1
        if end > first and not any(start <= first and end <= stop for start, stop in groups):
            groups.append((first, end))
    return groups
