"""The last screen of a run: the leaderboard and what can be done next."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tune_qat.study import Study
from tune_qat.tables import table_text

if TYPE_CHECKING:
    from tune_qat.tuning.run import Outcome


def ending(study: Study, outcome: "Outcome", *, space: str, results: Path, again: str) -> str:
    """Leaderboard with means, intervals, n and reference points; where the record is; the next commands."""
    import analysis

    board = analysis.frame(outcome.results, "leaderboard")
    board = board[board["study_id"] == study.name].drop(columns="study_id")
    blocks = [_title(study, outcome)]
    if len(board):
        blocks.append(table_text(board.dropna(axis="columns", how="all")))
    else:
        blocks.append("No retrain trial has ended yet, so there is no leaderboard.")
    blocks.append(_commands(study, outcome, space=space, results=results, again=again))
    return "\n\n".join(blocks)


def _title(study: Study, outcome: "Outcome") -> str:
    minutes = f"{outcome.seconds / 60:.1f} min"
    if not outcome.complete:
        why = {"user": "stopped", "budget": "the time budget is spent", None: "not complete"}[outcome.stopped_by]
        return f"Study {study.name} after {minutes}: {why}. What has ended so far:"
    if study.mode == "joint":
        return (
            f"Study {study.name}, {minutes}: the best configuration found over all optimizers, test split. "
            "One search over all of them: this is no ranking of optimizers."
        )
    return f"Study {study.name}, {minutes}: test split, mean over seeds with its 95 % interval."


def _commands(study: Study, outcome: "Outcome", *, space: str, results: Path, again: str) -> str:
    folder = shlex.quote(str(results))
    lines = [
        f"record   {outcome.results} (Parquet; trials/study_id={study.name}/ and the other tables beside it)",
        f"query    tune-qat query {folder} learning_rate       (all questions: tune-qat query {folder} --list)",
        f"widen    tune-qat query {folder} edge_of_range       then edit the ranges and run again:",
        f"         tune-qat run {shlex.quote(space)} --results {folder} --set space.learning_rate.high=1.0 --trials 12",
        f"resume   {again}",
    ]
    return "\n".join(lines)
