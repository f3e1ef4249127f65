"""Leaderboard of a board in the terminal, with a bar for each interval."""

import math
import textwrap
from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.stats.scales import fenced
from tune_qat.text.bars import REFERENCE, Scale, axis, bar
from tune_qat.text.layout import GAP, Column, lay_out
from tune_qat.text.names import shown
from tune_qat.text.numbers import NOTHING, bare_score, rate, score, unit_name

NARROWEST, WIDEST = 12, 60
"""Fewest and most characters of a bar; the interval in numbers makes room for it."""
MOST_DECIMALS = 3
REFERENCES = {"bicubic": "bicubic", "nearest": "nearest neighbour", "trivial": "best constant"}


def leaderboard(rows: pd.DataFrame, width: int, *, over: str) -> list[str]:
    """Return the lines of a leaderboard: place, optimizer, score, interval, bar, learning rate and batch size.

    Args:
        rows: rows of `leaderboard` of one board.
        width: most characters in a line.
        over: `seeds` or `repeats`, which the means are over.
    """
    if not len(rows):
        return ["No retrain trial has ended: there are no scores on test data yet."]
    unit = str(rows["unit"].iloc[0])
    scores = rows[["mean", "ci_low", "ci_high"]].astype(float)
    ends = fenced(scores["mean"], scores["ci_low"], scores["ci_high"])
    decimals = _decimals(ends, unit)
    columns = _columns(rows, unit, min(decimals, MOST_DECIMALS))
    if width - _taken(columns) < NARROWEST:
        columns = [column for column in columns if column.name != "95 % interval"]
    references = {name: float(rows[name].max()) for name in REFERENCES if rows[name].notna().any()}
    if ends is not None:
        on = Scale(*ends, width=min(WIDEST, max(NARROWEST, width - _taken(columns))))
        drawn = scores.itertuples(index=False, name=None)
        bars = [bar(on, mean, low, high, references.values()) for mean, low, high in drawn]
        scale = axis(on, *(bare_score(end, unit, decimals) for end in ends))
        columns = [Column(one.name, (*one.cells, ""), numbers=one.numbers) for one in columns]
        columns.insert(-2, Column("", (*bars, scale), numbers=False))
    layout = lay_out(columns, width)
    below = [
        f"{said}{f' ({REFERENCE})' if ends and ends[0] <= references[name] <= ends[1] else ''}"
        for name, said in _named(references, unit)
    ]
    said = textwrap.wrap(f"Without training: {', '.join(below)}", width) if below else []
    return [*textwrap.wrap(_described(rows, over), width), "", *layout.head, *layout.rows, "", *said]


def _decimals(ends: tuple[float, float] | None, unit: str) -> int:
    """Return the decimals that tell the scores of a scale apart: two, or more where it is short."""
    if ends is None:
        return 2
    return max(2, 1 - math.floor(math.log10(ends[1] - ends[0])) - 2 * (unit == "fraction"))


def _columns(rows: pd.DataFrame, unit: str, decimals: int) -> list[Column]:
    metric = shown(str(rows["metric"].iloc[0]))
    means, lows, highs = (
        [bare_score(value, unit, decimals) for value in rows[name]] for name in ("mean", "ci_low", "ci_high")
    )
    said = {
        "#": (_whole(rows["place"]), True),
        "optimizer": ([shown(str(name)) for name in rows["optimizer"]], False),
        f"{metric} ({unit_name(unit)})" if unit_name(unit) else metric: (means, True),
        "95 % interval": (list(map(_interval, rows.to_dict("records"), lows, highs)), False),
        "learning rate": ([rate(value) for value in rows["learning_rate"]], True),
        "batch size": (_whole(rows["batch_size"]), True),
    }
    return [Column(name, tuple(cells), numbers=numbers) for name, (cells, numbers) in said.items()]


def _whole(values: pd.Series) -> list[str]:
    return [NOTHING if pd.isna(value) else f"{value:.0f}" for value in values]


def _taken(columns: Sequence[Column]) -> int:
    return sum(column.least + GAP for column in columns)


def _interval(row: dict[str, float], low: str, high: str) -> str:
    if low != NOTHING:
        return f"{low} .. {high}"
    lost = int(row["diverged"] + row["collapsed"]) if row["n"] else 0
    return f"none: {lost} failed" if lost else "none: one run" if row["n"] else "none completed"


def _described(rows: pd.DataFrame, over: str) -> str:
    least, most = int(rows["n"].min()), int(rows["n"].max())
    number = f"{most}" if least == most else f"{least} to {most}"
    said = f"Scores on test data, mean over {number} {over if most > 1 else over.removesuffix('s')}"
    joint = rows["mode"].iloc[0] == "joint"
    return f"{said}; one search over all optimizers, so this is no ranking of them" if joint else said


def _named(references: dict[str, float], unit: str) -> Iterator[tuple[str, str]]:
    """Yield the scores that need no training, in words."""
    for name, value in references.items():
        yield name, f"{REFERENCES[name]} {score(value, unit)}"
