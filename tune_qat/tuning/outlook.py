"""Outlook on a study before it runs, from a results folder alone: what is recorded, taken over and new."""

import json
from collections.abc import Mapping
from typing import Any

from tune_qat import data
from tune_qat.config import STORAGE_OPTIONS
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial, Planner, RecordedData
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.standing import standing_of

COLUMNS = (
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
    arm = _arm_of_same_data(study, results)
    if arm is None:
        return []
    work = RecordedData(data_fingerprint=arm["data_fingerprint"], split_fingerprint=arm["split_fingerprint"])
    own = arm["study_id"] == study.name and arm["init"] == study.training.init == "path"
    planner = Planner(study=study, work=work, init_sha256=arm["init_checkpoint_sha256"] if own else None)
    record = read_rows(results, "trials", study.name)
    queue = StudyQueue(planner, record, objective=Objective(arm["sign"], 0.0, arm["trivial_score"]))
    others, start = OtherStudies(results, study.name, ("taken_from", "checkpoint_sha256")), queue.recorded_start()
    coming = list[str]()

    def found(plan: PlannedTrial) -> dict[str, Any] | None:
        row = next(others.find(plan.trial_key), None)
        if row is not None:
            coming.append(row["taken_from"] or f"{row['study_id']}/{plan.trial_key}")
        return row

    if start is not None:
        queue.start_known(start["checkpoint_sha256"], start)
    elif queue.pretrain and (row := found(queue.pretrain)):
        queue = queue.opened(row["checkpoint_sha256"])
    if queue.arms:
        for plan in queue.ahead():
            found(plan)
    return standing_of(queue, record, start=start, coming=coming).lines()


def _arm_of_same_data(study: Study, results: StoragePath) -> dict[str, Any] | None:
    """Find a recorded arm on the study's dataset with the same options, of the study itself if it has one."""
    wanted = data.resolve_options(data.get_spec(study.workload.dataset), study.workload.options)
    arms = sorted(read_rows(results, "arms", columns=COLUMNS), key=lambda row: row["study_id"] != study.name)
    for arm in arms:
        if arm["dataset"] == study.workload.dataset and _shaping(json.loads(arm["dataset_options_json"])) == _shaping(
            wanted
        ):
            return arm
    return None


def _shaping(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change samples, as JSON gives them back."""
    kept = {name: value for name, value in options.items() if name not in STORAGE_OPTIONS}
    return dict(json.loads(json.dumps(kept)))
