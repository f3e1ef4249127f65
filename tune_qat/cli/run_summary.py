"""Last screen of a run: the leaderboard, or the best configurations so far, and the commands that may follow."""

from typing import TYPE_CHECKING

import pandas as pd

import analysis
from analysis.parts import shown_as
from analysis.stats.calibrated import with_calibrated
from tune_qat.cli.board_text import board_name, metric_of, optimizer_name, plain_score
from tune_qat.cli.found import found_text
from tune_qat.cli.front_text import front_of, front_text, traded
from tune_qat.cli.next_commands import next_commands, no_edge
from tune_qat.cli.verdict_text import verdict_text
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.text.numbers import rate, score
from tune_qat.text.sentences import filled
from tune_qat.text.tables import cell, table_text

if TYPE_CHECKING:
    from tune_qat.tuning.outcome import Outcome

UNTRAINED = {"start": "floating-point start", "calibrated": "calibrated only"}
"""Columns of scores without training that a study may have beside its leaderboard, in words."""
OPTIONS = {"time": "--time-budget", "trials": "--trial-budget", "gpu_hours": "--gpu-hours"}


def ending(study: Study, outcome: "Outcome", *, results: StoragePath, again: str) -> str:
    """Return the boards with means, intervals and n, the path of the record, and the next commands."""
    asked = analysis.answers(outcome.results)  # opened once for all that follows
    shown, named = (
        shown_as(asked).get(study.name, study.name),
        bool(study.quantization.methods or study.quantization.mixed),
    )
    board = with_calibrated(asked.frame("leaderboard"), asked)
    board = board[board["study_id"] == shown]
    said = [_title(study, outcome, scored=bool(len(board))), *_part(study, shown)]
    if study.search.objectives is not None:
        points = front_of(asked, shown)
        front = [front_text(study, points)] if len(points) else []
        none = [] if len(board) else [_unscored(study, "".join(front))]
        blocks = ["\n".join(map(filled, [*said, *none])), *front]
    elif len(board):
        blocks = ["\n".join(map(filled, said)), *_boards(board, named=named), verdict_text(asked, study.name)]
    else:
        found = found_text(asked, shown, named=named)
        blocks = ["\n".join(map(filled, [*said, _unscored(study, found)])), *([found] if found else [])]
    record = f"Record: {outcome.results} (Parquet; trials/study_id={study.name}/ and the other tables beside it)"
    notes = [*no_edge(study, shown, asked), *_taken(asked, study)]
    blocks.append("\n".join(map(filled, [record, *notes])))
    blocks.append(next_commands(study, shown, outcome, asked, results=results, again=again))
    return "\n\n".join(blocks)


def _boards(board: "pd.DataFrame", *, named: bool) -> list[str]:
    """Return a table for each method and bit width, the best optimizer first, under the scores without training.

    The method is `named` if there are several, and that of a second control always.
    """
    blocks = []
    for _, rows in board.groupby(["method", "weight_bits", "activation_bits"], sort=False):
        first = rows.iloc[0]
        unit = first["unit"]
        points = {"trivial": first["trivial"], "nearest": first["nearest"], "bicubic": first["bicubic"]}
        points |= {words: first[name] for name, words in UNTRAINED.items() if name in rows}
        known = ", ".join(f"{name} {score(float(value), unit)}" for name, value in points.items() if value == value)
        shown = pd.DataFrame(
            {
                "place": [cell(value) for value in rows["place"]],
                "optimizer": [optimizer_name(name) for name in rows["optimizer"]],
                "rate": [rate(value) for value in rows["learning_rate"]],
                "batch": rows["batch_size"],
                "mean": [plain_score(value, unit) for value in rows["mean"]],
                "95 % interval": [_interval(row.ci_low, row.ci_high, unit) for row in rows.itertuples()],
                "n": rows["n"],
                **({"diverged": rows["diverged"]} if rows["diverged"].any() else {}),
            }
        )
        heading = f"{board_name(first, named=named)}, {metric_of(first)}: {known}"
        blocks.append(f"{filled(heading)}\n{table_text(shown, count=False)}")
    return blocks


def _interval(low: float, high: float, unit: str) -> str:
    return "-" if low != low else f"{plain_score(low, unit)} .. {plain_score(high, unit)}"


def _title(study: Study, outcome: "Outcome", *, scored: bool) -> str:
    minutes = f"{outcome.seconds / 60:.1f} min"
    if not outcome.complete:
        return f"Study {study.name} after {minutes}: {_why(outcome)}. {_spent(outcome)}What has ended so far:"
    if not scored:
        return f"Study {study.name}, {minutes}: validation data alone."
    if study.search.objectives is not None:
        return (
            f"Study {study.name}, {minutes}: the front of {traded(study)}, each point trained again. "
            "One search over all optimizers: this is no ranking of optimizers."
        )
    if study.mode == "joint":
        return (
            f"Study {study.name}, {minutes}: the best configuration found over all optimizers, test split. "
            "One search over all of them: this is no ranking of optimizers."
        )
    over = "repeats" if study.repeats > 1 else "seeds"
    return f"Study {study.name}, {minutes}: test split, mean over {over} with its 95 % interval."


def _unscored(study: Study, found: str) -> str:
    """Say why there is no leaderboard."""
    if study.stages.retrain:
        none = "No retrain trial has ended yet, so there is no leaderboard"
    else:
        none = "The study trains nothing again (stages.retrain = 0), so there is no leaderboard"
    return f"{none}. The best configurations that were found:" if found else f"{none}."


def _part(study: Study, shown: str) -> list[str]:
    """Say whose boards follow where a study is a part of another one; nothing otherwise."""
    return [] if shown == study.name else [f"It is a part of the study {shown}, whose files in this folder are one:"]


def _why(outcome: "Outcome") -> str:
    if outcome.stopped_by == "budget":
        return f"{OPTIONS[outcome.budget or 'time']} leaves no room for another trial"
    return "stopped" if outcome.stopped_by == "user" else "not complete"


def _spent(outcome: "Outcome") -> str:
    """Return a sentence on the trials and hours of this run, and the trials left."""
    spent = outcome.spent
    if spent is None:
        return ""
    hours = f"{spent.gpu_hours:.2f} GPU-hours" if spent.gpus else f"{spent.hours:.2f} hours of trials"
    trials = "1 trial" if spent.ended == 1 else f"{spent.ended} trials"
    return f"{trials} ended in this run ({hours}), {outcome.left} of the plan are left. "


def _taken(asked: analysis.Answers, study: Study) -> list[str]:
    """Say which trials other studies of the folder have run, if there are any."""
    origins = asked.frame(
        "SELECT study_id, split_part(taken_from, '/', 1) AS origin, count(*) AS n FROM trials "
        "WHERE taken_from IS NOT NULL GROUP BY ALL ORDER BY origin",
    )
    told = [f"{row.n} from {row.origin}" for row in origins[origins["study_id"] == study.name].itertuples()]
    return [f"Taken over, and not trained again: {', '.join(told)}."] if told else []
