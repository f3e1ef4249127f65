"""Verdicts in words, for each board: they are drawn from the intervals, and may say that nothing can be told."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import comparisons
from analysis.stats.interaction import interaction
from analysis.stats.quantization_words import change, untold
from analysis.stats.ranking_words import ranking
from analysis.stats.retrained import FLOAT_BITS, WORKLOAD, Key, by_board
from analysis.stats.standings import standings
from analysis.stats.words import counted, joined

OPTIMIZERS, QUANTIZATION = "optimizers", "quantization"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Sentences on a board, with the tables and questions behind them."""

    study_id: str
    mode: str
    workload: str
    method: str | None
    weight_bits: int | None
    activation_bits: int | None
    subject: str
    """Subject of the sentences: `optimizers` (which is better), or `quantization` (whether it changes which)."""
    sentence: str
    tables: tuple[str, ...]
    """Functions of `analysis.stats` that return the intervals."""
    questions: tuple[str, ...]
    """Bundled questions with the rows behind them."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that verdicts are drawn from, by board."""

    arms: dict[Key, pd.DataFrame]
    """Rows of `budget`: all planned arms, ended or not."""
    standing: dict[Key, pd.DataFrame]
    pairs: dict[Key, pd.DataFrame]
    differences: dict[Key, pd.DataFrame]
    hopeless: dict[Key, list[str]]
    """Optimizers that completed no trial that could be trained again."""


def verdicts(results: "Results | Answers") -> list[Verdict]:
    """Say for each board which optimizer is better, and for each quantized one whether quantization changes that.

    The order is that of `budget`. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    board = asked.frame("leaderboard")
    lost = by_board(board[board["n"] == 0])
    return drawn(
        Tables(
            arms=by_board(asked.frame("budget")),
            standing=by_board(standings(asked)),
            pairs=by_board(comparisons(asked)),
            differences=by_board(interaction(asked)),
            hopeless={key: list(rows["optimizer"]) for key, rows in lost.items()},
        )
    )


def drawn(tables: Tables) -> list[Verdict]:
    """Draw the `verdicts` from the tables."""
    return [verdict for key, arms in tables.arms.items() for verdict in _of_board(key, arms, tables)]


def _of_board(key: Key, arms: pd.DataFrame, tables: Tables) -> Iterator[Verdict]:
    board: dict[str, Any] = dict(zip(BOARD, key, strict=True))
    if board["mode"] == "joint":
        said = "One search went over all optimizers, so this is the best configuration it found and no ranking of them."
        yield _verdict(board, OPTIMIZERS, said, (), ("leaderboard",))
        return
    standing = tables.standing.get(key)
    lost = tables.hopeless.get(key, [])
    if standing is None:
        yield _verdict(board, OPTIMIZERS, _nothing(arms, lost), (), ("budget", "leaderboard"))
        return
    said = " ".join([ranking(standing, _rows(tables.pairs, key)), *_missing(arms, standing, lost)])
    yield _verdict(board, OPTIMIZERS, said, ("standings", "comparisons"), ("retrain_scores", "budget"))
    if key[-2:] != (FLOAT_BITS, FLOAT_BITS):
        said = _on_quantization(key, tables)
        yield _verdict(board, QUANTIZATION, said, ("comparisons", "interaction"), ("retrain_scores",))


def _verdict(
    board: dict[str, Any], subject: str, sentence: str, tables: tuple[str, ...], questions: tuple[str, ...]
) -> Verdict:
    return Verdict(**board, subject=subject, sentence=sentence, tables=tables, questions=questions)


def _rows(tables: dict[Key, pd.DataFrame], key: Key) -> pd.DataFrame:
    return tables.get(key, pd.DataFrame(columns=["optimizer", "other", "p", "outcome", "n"]))


def _nothing(arms: pd.DataFrame, lost: list[str]) -> str:
    if len(lost) == len(arms):
        return "No arm completed a trial that could be trained again: nothing can be told."
    if arms["planned_retrain"].eq(0).all():
        return "The study plans no retrain trials, the only ones that see test data: nothing can be told."
    return "No retrain trial has ended yet: nothing can be told."


def _missing(arms: pd.DataFrame, standing: pd.DataFrame, lost: list[str]) -> Iterator[str]:
    if lost:
        yield f"{joined(lost)} completed no trial that could be trained again."
    waiting = [name for name in arms["optimizer"].unique() if name not in {*standing["optimizer"], *lost}]
    if waiting:
        yield f"No retrain trial of {joined(waiting)} has ended yet."
    able = arms[~arms["optimizer"].isin(lost)]
    ended, planned = able["ended_retrain"].sum(), able["planned_retrain"].sum()
    if ended < planned:
        yield f"So far, {ended:.0f} of {counted(int(planned), 'retrain trial')} have ended."


def _on_quantization(key: Key, tables: Tables) -> str:
    bits = f"{key[-2]}/{key[-1]}"
    workload = key[: len(WORKLOAD)]
    control = [other for other in tables.arms if other[: len(WORKLOAD)] == workload and other[-2:] == (FLOAT_BITS,) * 2]
    if not control:
        return untold(bits, "the study has no 32/32 arms")
    if control[0] not in tables.standing:
        return untold(bits, "no retrain trial of the 32/32 arms has ended yet")
    return change(bits, _rows(tables.pairs, control[0]), _rows(tables.pairs, key), _rows(tables.differences, key))
