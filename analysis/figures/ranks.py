"""Figure: critical-difference diagram of mean ranks over workloads."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import bits
from analysis.figures.kept import kept
from analysis.figures.panels import left_of, rows_axis
from analysis.figures.style import INK, figure, marker, name, sentence, text
from analysis.stats import mean_ranks, rank_comparisons
from analysis.stats.ranks import FAMILY


def critical_differences(results: Results | Answers, **_: Any) -> go.Figure:
    """Draw the mean rank of each optimizer over all workloads; a bar joins those that cannot be told apart.

    Each kind of start, method and bits is ranked by itself, one below the other. With fewer workloads than a test of
    ranks needs, the figure is a sentence.
    """
    asked = answers(results)
    ranks = kept(mean_ranks, asked)
    if not len(ranks):
        return sentence("No optimizer has a retrain score on every workload.")
    tested = ranks[ranks["reason"] == ""]
    if not len(tested):
        return sentence(f"No diagram: {ranks.sort_values('blocks')['reason'].iloc[-1]}.")
    families = tested.groupby(FAMILY, dropna=False, sort=False)
    pairs = kept(rank_comparisons, asked)
    drawn = figure(height=110 + 26 * len(tested))
    labels: list[str] = []
    first, last, most = float(tested["mean_rank"].min()), float(tested["mean_rank"].max()), 0
    for _, rows in families:
        told = "" if families.ngroups == 1 else f" {_label(rows.iloc[0])}"
        for row in rows.itertuples():
            drawn.add_trace(
                go.Scatter(
                    x=[row.mean_rank],
                    y=[name(row.optimizer) + text(told)],
                    mode="markers",
                    marker=marker(row.optimizer, 10),
                    showlegend=False,
                    hovertemplate=f"{name(row.optimizer)}: mean rank %{{x:.2f}} over {row.blocks} workloads"
                    "<extra></extra>",
                )
            )
        groups = _groups(list(rows["optimizer"]), pairs.merge(rows[FAMILY].drop_duplicates(), on=FAMILY))
        most = max(most, len(groups))
        for number, (start, end) in enumerate(groups):
            at = last + 0.25 + 0.15 * number
            line = {"color": INK, "width": 4}
            drawn.add_shape(type="line", x0=at, x1=at, y0=len(labels) + start, y1=len(labels) + end, line=line)
        labels += [name(one) + text(told) for one in rows["optimizer"]]
    drawn.update_layout(
        xaxis={
            "title": {"text": f"mean rank over {tested['blocks'].max()} workloads (1 is best)"},
            "range": [first - 0.2, last + 0.3 + 0.15 * most],
        },
        yaxis=rows_axis(labels),
        margin={"l": left_of(labels), "t": 16},
    )
    return drawn


def _label(row: Any) -> str:
    return f"({row.init}, {row.method}, {bits(row)})"


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
