"""Outlook on a study before it runs, from a results folder alone: what is recorded, taken over and new."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.config import STORAGE_OPTIONS
from tune_qat.config.statuses import PRETRAIN
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner, RecordedData
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.standing import standing_of

COLUMNS = (
    "arm_id",
    "sampler_seed",
    "dataset",
    "dataset_options_json",
    "data_fingerprint",
    "split_fingerprint",
    "sign",
    "trivial_score",
    "init",
    "init_checkpoint_sha256",
)


def outlook(study: Study, results: StoragePath) -> list[str]:
    """Return how many trials are recorded, will be taken over and are new, and which recorded ones no longer fit.

    No lines if no study in the folder has the data of this one. Trials of the search are not known before it runs: only
    those that depend on no result are looked for in other studies.
    """
    arms = sorted(read_rows(results, "arms", columns=COLUMNS), key=lambda row: row["study_id"] != study.name)
    try:
        works = DataDraws.of_study(study, lambda options: _recorded_data(study, arms, options))
    except LookupError:
        return []
    own = [row for row in arms if row["study_id"] == study.name]
    from_path = [row for row in own if row["init"] == study.training.init == "path"]
    planner = Planner(
        study=study, work=works, init_sha256=from_path[0]["init_checkpoint_sha256"] if from_path else None
    )
    record = read_rows(results, "trials", study.name)
    seeds = {row["arm_id"]: row["sampler_seed"] for row in own if row["sampler_seed"] is not None}
    objective = Objective(arms[0]["sign"], 0.0, arms[0]["trivial_score"])
    queue = StudyQueue(planner, record, objective=objective, design_seeds=seeds)
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
    return standing_of(queue, record, coming=coming).lines()


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
