"""Commands that may follow a run, each on a line of its own below a line that says what it is for."""

import re
import shlex
from typing import TYPE_CHECKING

import analysis
from tune_qat.cli.board_text import optimizer_name
from tune_qat.config.own_parts import allowed
from tune_qat.export.choice import best_of_search
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.widen.edges import calling, recorded_studies, reserves, widen_command

if TYPE_CHECKING:
    import pandas as pd

    from tune_qat.tuning.outcome import Outcome

FRESH_SEEDS = 3
"""Retrain trials of each arm that are proposed to a study without any."""
_NO_RETRAIN = re.compile(r" --set[ =]stages\.retrain=0\b")
Commands = list[tuple[str, str]]
"""Commands by what they are for."""


def next_commands(
    study: Study, shown: str, outcome: "Outcome", asked: analysis.Answers, *, results: StoragePath, again: str
) -> str:
    """Return the commands as text; `shown` is the name under which answers have the study, `again` its own command."""
    folder = shlex.quote(str(results))
    found: Commands = []
    if not study.stages.retrain and outcome.complete:
        what = f"an honest score of these: {FRESH_SEEDS} fresh seeds each, on test data"
        found.append((what, f"{_NO_RETRAIN.sub('', again)} --set stages.retrain={FRESH_SEEDS}"))
    found += [
        ("a page with verdicts, figures and tables", f"tune-qat report {folder} -o report.html"),
        *_export(asked, study, shown, results, outcome.results),
        ("one of many questions (--list has all of them)", f"tune-qat query {folder} learning_rate"),
        *_widening(study, shown, asked, results),
        *_errors(asked, study, again),
        ("the same study again" if outcome.complete else "resume", again),
    ]
    return "\n".join(f"{what}:\n  {command}" for what, command in found)


def _errors(asked: analysis.Answers, study: Study, again: str) -> Commands:
    """Return the command that runs failed trials again, if there are any."""
    failed = asked.frame("SELECT study_id FROM arm_trials WHERE status = 'error'")
    count = int((failed["study_id"] == study.name).sum())
    if not count or "--retry-errors" in again:
        return []
    return [(f"the trials again that ended in an error ({count})", f"{again} --retry-errors")]


def _export(asked: analysis.Answers, study: Study, shown: str, named: StoragePath, results: StoragePath) -> Commands:
    """Return the command that exports the best quantized model, or the best model if none is quantized.

    `named` is the results folder as it was typed.
    """
    best = asked.frame("best_trial")
    best = best[best["study_id"] == shown]
    if study.search.objectives is not None and len(best):
        what = "a model of the front"
        return [_exported(row, str(row["trial_key"]), study, named, what) for _, row in best.iterrows()]
    if len(best):
        return [_exported(best.iloc[0], str(best.iloc[0]["trial_key"]), study, named)]
    kept = best_of_search(results, asked.frame)
    mine = kept[kept["study_id"] == study.name]
    if not len(mine):
        return []
    return [_exported(mine.iloc[0], "--best" if len(kept) == 1 else str(mine.iloc[0]["trial_key"]), study, named)]


def _exported(
    row: "pd.Series", which: str, study: Study, results: StoragePath, what: str = "the best model on validation data"
) -> tuple[str, str]:
    method = f", {row['method']}" if study.quantization.methods else ""
    bits = f"{row['weight_bits']}/{row['activation_bits']} bits{method}"
    code = "".join(f" --code {shlex.quote(str(one))}" for one in allowed()) if study.own_parts else ""
    command = f"tune-qat export {shlex.quote(str(results))} {which} -o model.onnx{code}"
    return f"{what}, {optimizer_name(row['optimizer'])} at {bits}", command


def _widening(study: Study, shown: str, asked: analysis.Answers, named: StoragePath) -> Commands:
    """Return the command that widens ranges with best values near an edge, if there are any."""
    edges = edges_of(study, shown, asked)
    count = int(calling(edges).sum())
    if not count:
        return []
    alone = bool(recorded_studies(asked, study.name)["alone"].all())
    lie = "a best value lies" if count == 1 else f"{count} best values lie"
    return [(f"wider ranges: {lie} near an edge", widen_command(named, study.name, alone=alone))]


def edges_of(study: Study, shown: str, asked: analysis.Answers) -> "pd.DataFrame":
    edges = asked.frame("edge_of_range")
    return edges[(edges["study_id"] == shown) & edges["arm_id"].isin([arm.arm_id for arm in study.arms()])]


def no_edge(study: Study, shown: str, asked: analysis.Answers) -> list[str]:
    """Say that no best value lies near an edge, and of how many that is not known; nothing where some do."""
    edges = edges_of(study, shown, asked)
    if calling(edges).sum():
        return []
    return [" ".join(["No best value lies near an edge of its range.", *reserves(edges)])]
