"""Plots of a board in the terminal: the score by learning rate, a panel each optimizer, and learning curves."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.stats.scales import floor, panel_range
from analysis.stats.sensitivity import envelope
from tune_qat.config.statuses import COMPLETED
from tune_qat.text.layout import GAP, shortened
from tune_qat.text.names import shown
from tune_qat.text.numbers import bare_score, rate, unit_name
from tune_qat.text.plots import Plot, Range, Tick, framed

PANEL, PANEL_HEIGHT = 20, 6
"""Fewest cells across a panel, and its height."""
CURVES, CURVES_HEIGHT = 5, 10
"""Most learning curves, unless all are asked for, and their height."""
TRIAL, LOST, CHOSEN = "•", "×", "◆"
MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
"""Marks of curves, by place."""
NAME = 20
"""Cells for the names beside curves."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Vertical axis of scores, with labels at its best and at its worst one."""

    range: Range
    best: float
    edge: float
    unit: str

    @classmethod
    def of(cls, scores: pd.Series, best: float, sign: int, unit: str) -> "Scores":
        """Return the axis up to the best score; those far worse than most are off it."""
        edge = floor(scores, sign)
        low, high = panel_range(edge, best)
        return cls((low, high), best, edge, unit)

    def beside(self, plot: Plot, lines: Sequence[str], *, above: int) -> list[str]:
        """Put the labels left of the lines of a plot, of which so many are above its area."""
        labels = {plot.row(value): bare_score(value, self.unit, _DECIMALS) for value in (self.edge, self.best)}
        width = max(map(len, labels.values()))
        return [f"{labels.get(place - above, ''):>{width}} {line}" for place, line in enumerate(lines)]


_DECIMALS = 2


def learning_rates(
    trials: pd.DataFrame, order: Sequence[str], rates: Mapping[str, float], width: int, *, every: bool
) -> list[str]:
    """Return panels of the validation score by learning rate: one row of them, the best optimizers', or `every` one.

    All panels have one scale of scores, and each has its own learning rates.

    Args:
        trials: rows of `tuning_scores` of a board.
        order: its optimizers, the best first.
        rates: learning rate that was chosen for each.
        width: most characters in a line.
        every: whether all optimizers have a panel.
    """
    trials = trials.dropna(subset=["score"])
    trials = trials[trials["learning_rate"] > 0]
    if not len(trials):
        return []
    sign, unit = int(trials["sign"].iloc[0]), str(trials["unit"].iloc[0])
    done = trials.loc[trials["status"] == COMPLETED, "score"].astype(float)
    best = sign * float((sign * trials["score"]).max())
    scores = Scores.of(done if len(done) else trials["score"].astype(float), best, sign, unit)
    left = width - len(bare_score(best, unit, _DECIMALS)) - 3  # and a sign
    across = max(1, (left + GAP) // (PANEL + 1 + GAP))
    names = [name for name in order if name in set(trials["optimizer"])]
    chosen = names if every else names[:across]
    lines = _heading(
        trials,
        f"on validation data by learning rate: {TRIAL} a trial, {LOST} one that failed, {CHOSEN} the chosen one, "
        "v or ^ off the scale; the line goes through the best",
        width,
    )
    for start in range(0, len(chosen), across):
        plots, blocks = [], []
        for name in chosen[start : start + across]:
            mine = trials[trials["optimizer"] == name]
            plot, block = _panel(mine, rates.get(name, math.nan), scores, sign, (left + GAP) // across - 1 - GAP)
            plots.append(plot)
            blocks.append([_titled(name, rates.get(name, math.nan), plot.width + 1), *block])
        joined = [(" " * GAP).join(parts) for parts in zip(*blocks, strict=True)]
        lines += ["", *scores.beside(plots[0], joined, above=1)]
    return [*lines, *_more(names, chosen)]


def _panel(trials: pd.DataFrame, chosen: float, scores: Scores, sign: int, width: int) -> tuple[Plot, list[str]]:
    """Return a plot of one optimizer's trials, and its lines with axes."""
    logs = [math.log10(value) for value in trials["learning_rate"]]
    plot = Plot(width, PANEL_HEIGHT, _wide(logs, 0.25), scores.range)
    shape = envelope(trials["learning_rate"].to_numpy(float), sign * trials["score"].to_numpy(float))
    plot.line(list(shape.log10_rate), list(sign * shape.best))
    lost = (trials["status"] != COMPLETED).to_numpy()
    values = trials["score"].to_numpy(float)
    for mark, which in ((TRIAL, ~lost), (LOST, lost)):
        plot.marks(
            [x for x, here in zip(logs, which, strict=True) if here], list(values[which]), mark, edge=mark == LOST
        )
    mine = trials[trials["learning_rate"] == chosen]
    if len(mine):
        plot.marks([math.log10(chosen)], [sign * float((sign * mine["score"]).max())], CHOSEN)
    return plot, framed(plot, _decades(*plot.x, width))


def _titled(name: str, chosen: float, width: int) -> str:
    text = shown(name) if math.isnan(chosen) else f"{shown(name)} {rate(chosen)}"
    return f"{shortened(text, width):{width}}"


def _decades(low: float, high: float, width: int) -> list[Tick]:
    """Return ticks of an axis of log10 rates: at decades with room for labels, or at both ends where it has but one."""
    decades = range(math.ceil(low), math.floor(high) + 1)
    if len(decades) < 2:
        return [Tick(place, rate(10**place)) for place in (low, high)]
    step = math.ceil((max(len(rate(10.0**place)) for place in decades) + 1) * (high - low) / width)
    return [Tick(place, rate(10.0**place)) for place in decades[::step]]


def curves(rows: pd.DataFrame, order: Sequence[str], width: int, *, every: bool) -> list[str]:
    """Return the validation score after each epoch, the median over an optimizer's retrain trials, as one plot.

    Args:
        rows: rows of `learning_curves` of a board.
        order: its optimizers, the best first.
        width: most characters in a line.
        every: whether all optimizers have a curve.
    """
    if not len(rows):
        return []
    sign, unit = int(rows["sign"].iloc[0]), str(rows["unit"].iloc[0])
    medians = rows.groupby(["epoch", "optimizer"])["score"].median().unstack("optimizer").astype(float)
    names = [name for name in order if name in medians][: len(MARKS)]
    chosen = names if every else names[:CURVES]
    known = medians[chosen].stack()
    scores = Scores.of(known, sign * float((sign * known).max()), sign, unit)
    epochs = [float(epoch) for epoch in medians.index]
    left = width - len(bare_score(scores.best, unit, _DECIMALS)) - 3
    plot = Plot(left - GAP - NAME, CURVES_HEIGHT, _wide(epochs), scores.range)
    for name in chosen:
        plot.line(epochs, list(medians[name]))
    for place, name in reversed(list(enumerate(chosen))):  # the best above the others
        plot.marks(epochs, list(medians[name]), MARKS[place])
    ends = [(plot.row(float(medians[name].iloc[-1])), f"{MARKS[at]} {shown(name)}") for at, name in enumerate(chosen)]
    axes = framed(plot, [Tick(epoch, f"{epoch:.0f}") for epoch in _spread(epochs)])
    joined = [
        f"{line}{' ' * GAP}{shortened(name, NAME)}".rstrip()
        for line, name in zip(axes, [*_below_each_other(ends, CURVES_HEIGHT), "", "epoch"], strict=True)
    ]
    heading = _heading(rows, "on validation data by epoch, median over the runs of the chosen configuration", width)
    return [*heading, "", *scores.beside(plot, joined, above=0), *_more(names, chosen)]


def _below_each_other(wanted: Sequence[tuple[int, str]], height: int) -> list[str]:
    """Return lines with each text where it is wanted, or in the next free line below, or above where there is none."""
    lines = [""] * max(height, len(wanted))
    for row, text in sorted(wanted, key=lambda one: one[0]):
        free = [place for place, line in enumerate(lines) if not line]
        lines[min(free, key=lambda place: (place < row, abs(place - row)))] = text
    return lines


def _heading(rows: pd.DataFrame, said: str, width: int) -> list[str]:
    metric, unit = str(rows["metric"].iloc[0]), unit_name(str(rows["unit"].iloc[0]))
    return textwrap.wrap(f"{shown(metric)}{f' ({unit})' if unit else ''} {said}", width)


def _more(names: Sequence[str], chosen: Sequence[str]) -> list[str]:
    return [f"{len(names) - len(chosen)} more: --all"] if len(chosen) < len(names) else []


def _wide(values: Sequence[float], room: float = 0.0) -> Range:
    """Return the range of values, wider at both ends, and never empty."""
    low, high = min(values) - room, max(values) + room
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _spread(epochs: Sequence[float]) -> list[float]:
    """Return the first epoch, the last, and one between them."""
    return list(dict.fromkeys([epochs[0], epochs[len(epochs) // 2], epochs[-1]]))
