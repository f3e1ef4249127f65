"""Outlook on a study before it runs, from a results folder alone: what is recorded, taken over and new."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.config import STORAGE_OPTIONS, TuneQatError
from tune_qat.config.statuses import PRETRAIN
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.tuning.costs import objectives_of
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import METRIC_ALONE, Objectives
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner, RecordedData
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.standing import Standing, standing_of

COLUMNS = (
    "dataset",
    "dataset_options_json",
    "data_fingerprint",
    "split_fingerprint",
    "sign",
    "trivial_score",
    "worst_metric",
    "init",
    "init_checkpoint_sha256",
)


def outlook(study: Study, results: StoragePath) -> list[str]:
    """Return how a study stands beside a results folder in words; no lines where it has nothing to do with it."""
    found = standing(study, results)
    return found.lines() if found else []


def standing(study: Study, results: StoragePath) -> Standing | None:
    """Count which trials are recorded, will be taken over and are new, and say which recorded ones no longer fit.

    None if no study in the folder has the data of this one. Trials of the search are not known before it runs: only
    those that depend on no result are looked for in other studies.
    """
    arms = sorted(read_rows(results, "arms", columns=COLUMNS), key=lambda row: row["study_id"] != study.name)
    try:
        works = DataDraws.of_study(study, lambda options: _recorded_data(study, arms, options))
    except LookupError:
        return None
    own = [row for row in arms if row["study_id"] == study.name]
    record = read_rows(results, "trials", study.name)
    planner = Planner(study=study, work=works, init_sha256=given_sha256(study, own, record))
    objective = Objective.of_record(arms[0])
    queue = StudyQueue(planner, record, objective=objective, objectives=_objectives(study, results))
    others = OtherStudies(results, study.name, ("taken_from", "checkpoint_sha256"))
    coming = list[str]()

    def found(plan: PlannedTrial) -> dict[str, Any] | None:
        row = next(others.find(plan.trial_key), None)
        if row is not None:
            coming.append(row["taken_from"] or f"{row['study_id']}/{plan.trial_key}")
        return row

    for start in queue.starts:
        row = queue.recorded_start(start)
        if row is not None:
            queue.start_known(start, row["checkpoint_sha256"], row)
        elif start.plan and (row := found(start.plan)):
            queue.start_known(start, row["checkpoint_sha256"])
    for plan in queue.ahead():
        if plan.stage != PRETRAIN:
            found(plan)
    return standing_of(queue, record, coming=coming)


def given_sha256(study: Study, arms: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]) -> str | None:
    """Find in a study's recorded arms and trials the hash of the weights that it gives; None where it gives none."""
    init = study.training.init
    if init in ("path", "weights"):
        hashes = [row["init_checkpoint_sha256"] for row in arms if row["init"] == init]
    else:
        # Of a worsened control's start it is that of another start.
        made = (row for row in trials if row["stage"] == PRETRAIN and study.training.weights)
        hashes = [row["init_checkpoint_sha256"] for row in made if not json.loads(row["params_json"]).get("worsening")]
    return next(iter(hashes), None)


def _objectives(study: Study, results: StoragePath) -> Objectives:
    """Return the objectives by the recorded costs; where these are not those of the study, the metric alone."""
    try:
        return objectives_of(study, lambda: read_rows(results, "costs", study.name))
    except TuneQatError:
        return METRIC_ALONE


def _recorded_data(study: Study, arms: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> RecordedData:
    """Find the fingerprints of the study's dataset with these options; raise `LookupError` if no arm has them."""
    for arm in arms:
        same = arm["dataset"] == study.workload.dataset
        if same and _shaping(json.loads(arm["dataset_options_json"])) == _shaping(options):
            return RecordedData(data_fingerprint=arm["data_fingerprint"], split_fingerprint=arm["split_fingerprint"])
    raise LookupError


def _shaping(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change samples, as JSON gives them back."""
    kept = {name: value for name, value in options.items() if name not in STORAGE_OPTIONS}
    return dict(json.loads(json.dumps(kept)))
