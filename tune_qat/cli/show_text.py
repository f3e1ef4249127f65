"""Boards of a record as blocks of text: the leaderboard with interval bars, and the plots below it."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.answers import Answers
from analysis.stats import verdicts
from analysis.stats.boards import BOARD
from analysis.stats.names import naming
from analysis.stats.retrained import Key, by_board
from tune_qat.cli.show_plots import curves, learning_rates
from tune_qat.cli.show_table import leaderboard
from tune_qat.config import UsageError
from tune_qat.text.bars import BAR
from tune_qat.text.names import shown

COLOURS = {BAR: "cyan", "[\u2801-\u28ff]+": "blue", "[•◆×]": "green"}
"""Styles of what is drawn, by what finds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Rows of one board in the answers about a record, the best optimizer first."""

    key: Key
    standing: pd.DataFrame
    """Rows of `leaderboard`."""
    tuned: pd.DataFrame
    """Rows of `tuning_scores`."""
    learned: pd.DataFrame
    """Rows of `learning_curves`."""
    repeats: int
    sentence: str
    """Verdict on its optimizers."""

    @property
    def optimizers(self) -> list[str]:
        """Optimizers in the order of their places, and of their best validation scores where none has a place."""
        best = (self.tuned["sign"] * self.tuned["score"]).groupby(self.tuned["optimizer"]).max()
        return list(dict.fromkeys([*self.standing["optimizer"], *best.sort_values(ascending=False).index]))


def drawn(results: Sequence[str], bits: str | None, *, width: int, every: bool) -> Iterator[str]:
    """Yield the blocks of each board, in lines of at most `width` characters.

    Raises:
        UsageError: no board has these bits.
        TuneQatError: a path that holds no record.
    """
    asked = Answers(*results)
    found = [board for board in boards(asked) if bits is None or named_bits(board.key) == bits]
    if not found:
        known = ", ".join(dict.fromkeys(named_bits(board.key) for board in boards(asked)))
        what = f"No board has {bits} bits" if bits else "No trial has ended"
        raise UsageError(f"{what}{f'; there are {known}' if known else ': tune-qat status says how far it is'}.")
    for board in found:
        rates = dict(zip(board.standing["optimizer"], board.standing["learning_rate"].astype(float), strict=True))
        for block in (
            [title(board.key), "━" * min(width, len(title(board.key)))],
            leaderboard(board.standing, width, over="repeats" if board.repeats > 1 else "seeds"),
            textwrap.wrap(board.sentence, width),
            learning_rates(board.tuned, board.optimizers, rates, width, every=every),
            curves(board.learned, board.optimizers, width, every=every),
        ):
            if block:
                yield "\n".join(line.rstrip() for line in [*block, ""])


def boards(asked: Answers) -> list[Board]:
    """Return the boards with an ended trial, in the order of `budget`."""
    standing, tuned, learned = (
        by_board(asked.frame(name)) for name in ("leaderboard", "tuning_scores", "learning_curves")
    )
    named = naming(asked)
    said = {
        tuple(getattr(one, name) for name in BOARD): named(one.sentence)
        for one in verdicts(asked)
        if one.subject == "optimizers"
    }
    repeats = asked.frame("start").groupby("study_id")["repeats"].max()
    return [
        Board(
            key=key,
            standing=standing.get(key, asked.frame("leaderboard")[:0]),
            tuned=tuned.get(key, asked.frame("tuning_scores")[:0]),
            learned=learned.get(key, asked.frame("learning_curves")[:0]),
            repeats=int(repeats.get(key[0], 1)),
            sentence=said.get(key, ""),
        )
        for key in by_board(asked.frame("budget"))
        if key in standing or key in tuned
    ]


def named_bits(key: Key) -> str:
    """Return the bits of a board, as 4/4."""
    weight, activation = key[-2:]
    return "any" if weight is None or activation is None else f"{weight:g}/{activation:g}"


def title(key: Key) -> str:
    """Return the line above a board: its study, workload, bits and method."""
    study, _, workload, method, *_ = key
    said = "" if method in (None, "none") else f", {shown(str(method))}"
    return f"{study}: {workload} at {named_bits(key)} bits{said}"
