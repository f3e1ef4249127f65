"""The final output of a run: the leaderboard and the commands that may follow."""

import shlex
from typing import TYPE_CHECKING

import pandas as pd

import analysis
from analysis.parts import shown_as
from analysis.stats.boards import is_worsened
from tune_qat.cli.verdict_text import verdict_text
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.text.tables import cell, table_text
from tune_qat.widen.edges import calling, recorded_studies, reserves, widen_command

if TYPE_CHECKING:
    from tune_qat.tuning.session import Outcome

OPTIONS = {"time": "--time-budget", "trials": "--trial-budget", "gpu_hours": "--gpu-hours"}


def ending(study: Study, outcome: "Outcome", *, results: StoragePath, again: str) -> str:
    """Return the leaderboard with means, intervals and n, the path of the record, and the next commands."""
    asked = analysis.answers(outcome.results)  # opened once for all that follows
    shown = shown_as(asked).get(study.name, study.name)
    board = asked.frame("leaderboard")
    board = board[board["study_id"] == shown]
    blocks = [_title(study, outcome) + _part(study, shown), *_boards(board, named=bool(study.quantization.methods))]
    if len(board):
        blocks.append(verdict_text(asked, study.name))
    else:
        blocks.append("No retrain trial has ended yet, so there is no leaderboard.")
    blocks.append(_commands(study, shown, outcome, asked, results=results, again=again))
    return "\n\n".join(blocks)


def _boards(board: "pd.DataFrame", *, named: bool) -> list[str]:
    """Return a table for each method and bit width, the best optimizer first, under the scores without training.

    The method is `named` if there are several, and that of a second control always.
    """
    blocks = []
    for (method, weight, activation), rows in board.groupby(["method", "weight_bits", "activation_bits"], sort=False):
        first = rows.iloc[0]
        points = {"trivial": first["trivial"], "nearest": first["nearest"], "bicubic": first["bicubic"]}
        known = ", ".join(f"{name} {cell(float(value))}" for name, value in points.items() if value == value)
        shown = pd.DataFrame(
            {
                "place": [cell(value) for value in rows["place"]],
                "optimizer": rows["optimizer"],
                "mean": [_score(value) for value in rows["mean"]],
                "95 % interval": [_interval(row.ci_low, row.ci_high) for row in rows.itertuples()],
                "n": rows["n"],
                "diverged": rows["diverged"],
                "learning rate": [cell(value) for value in rows["learning_rate"]],
                "batch": rows["batch_size"],
            }
        )
        what = f", {method}" if is_worsened(method) or (named and method != "none") else ""
        heading = (
            f"{first['workload']} at {weight}/{activation} bits{what}, {first['metric']} ({first['unit']}): {known}"
        )
        blocks.append(f"{heading}\n{table_text(shown, count=False)}")
    return blocks


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"{_score(low)} .. {_score(high)}"


def _score(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _title(study: Study, outcome: "Outcome") -> str:
    minutes = f"{outcome.seconds / 60:.1f} min"
    if not outcome.complete:
        return f"Study {study.name} after {minutes}: {_why(outcome)}. {_spent(outcome)}What has ended so far:"
    if study.mode == "joint":
        return (
            f"Study {study.name}, {minutes}: the best configuration found over all optimizers, test split. "
            "One search over all of them: this is no ranking of optimizers."
        )
    over = "repeats" if study.repeats > 1 else "seeds"
    return f"Study {study.name}, {minutes}: test split, mean over {over} with its 95 % interval."


def _part(study: Study, shown: str) -> str:
    """Say whose boards follow where a study is a part of another one; nothing otherwise."""
    return "" if shown == study.name else f"\nIt is a part of the study {shown}, whose files in this folder are one:"


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


def _commands(
    study: Study, shown: str, outcome: "Outcome", asked: analysis.Answers, *, results: StoragePath, again: str
) -> str:
    folder = shlex.quote(str(results))
    lines = [
        f"record   {outcome.results} (Parquet; trials/study_id={study.name}/ and the other tables beside it)",
        *_taken(asked, study),
        *_export(asked, study, shown, folder),
        f"query    tune-qat query {folder} learning_rate    (all questions: tune-qat query {folder} --list)",
        _widening(study, shown, asked, results),
        f"{'again ' if outcome.complete else 'resume'}   {again}",
        *_errors(asked, study, again),
    ]
    return "\n".join(lines)


def _taken(asked: analysis.Answers, study: Study) -> list[str]:
    """Return the line that says which trials other studies of the folder have run, if there are any."""
    origins = asked.frame(
        "SELECT study_id, split_part(taken_from, '/', 1) AS origin, count(*) AS n FROM trials "
        "WHERE taken_from IS NOT NULL GROUP BY ALL ORDER BY origin",
    )
    told = [f"{row.n} from {row.origin}" for row in origins[origins["study_id"] == study.name].itertuples()]
    return [f"taken    {', '.join(told)}: trials that were not trained again"] if told else []


def _errors(asked: analysis.Answers, study: Study, again: str) -> list[str]:
    """Return the line that runs failed trials again, if there are any."""
    failed = asked.frame("SELECT study_id FROM arm_trials WHERE status = 'error'")
    count = int((failed["study_id"] == study.name).sum())
    if not count or "--retry-errors" in again:
        return []
    return [f"retry    {again} --retry-errors    ({count} ended in an error)"]


def _export(asked: analysis.Answers, study: Study, shown: str, folder: str) -> list[str]:
    """Return the line that exports the best quantized model, or the best model if none is quantized."""
    best = asked.frame("best_trial")
    best = best[best["study_id"] == shown]
    if not len(best):
        return []
    first = best.iloc[0]
    method = f", {first['method']}" if study.quantization.methods else ""
    which = f"{first['optimizer']} at {first['weight_bits']}/{first['activation_bits']} bits{method}"
    return [
        f"export   tune-qat export {folder} {first['trial_key']} -o model.onnx    (best on validation data: {which})"
    ]


def _widening(study: Study, shown: str, asked: analysis.Answers, named: StoragePath) -> str:
    """Return the line that widens ranges with best values near an edge, if there are any."""
    edges = asked.frame("edge_of_range")
    edges = edges[(edges["study_id"] == shown) & edges["arm_id"].isin([arm.arm_id for arm in study.arms()])]
    count = int(calling(edges).sum())
    if not count:
        return " ".join(["widen    no best value lies near an edge of its range.", *reserves(edges)]).rstrip(".")
    alone = bool(recorded_studies(asked, study.name)["alone"].all())
    lie = "a best value lies" if count == 1 else f"{count} best values lie"
    return f"widen    {widen_command(named, study.name, alone=alone)}    ({lie} near an edge of the range)"
