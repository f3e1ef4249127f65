"""A study whose random trials refute ASHA's first rung, on Ray: refused, kept, mended, and done.

Of its forty default and random trials all but one are in the record with curves that cross; that one, and the search,
are really trained.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.helpers.rows import epoch_result
from tests.helpers.runs import assert_whole
from tune_qat.config.statuses import COMPLETED
from tune_qat.results.reader import read_rows
from tune_qat.results.writer import write_rows
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]

STUDY = """\
[workload]
model = "lenet5"
dataset = "digits"
options = { train_limit = 64 }

[quantization]
bits = [[32, 32]]

[training]
epochs = 3
init = "scratch"

[space]
optimizers = ["adam", "sgd", "nesterov", "lion", "rmsprop"]
batch_size = { low = 32, high = 64 }

[stages]
random = 7
search = 1
retrain = 0

[judgement]
metric = "accuracy"
margin = 0.01
"""
RANDOM = {"default": 5, "random": 35}


def record_all_but_one(space: Path, results: Path) -> None:
    """Write default and random trials, the later best of each arm last at epoch 1."""
    study = Study.load(str(space))
    work = workload.load("lenet5", "digits", options=study.workload.options)
    task = work.task()
    record = Record(results, study, DataDraws.of_study(study, lambda options: work), task.sign)
    queue = StudyQueue(Planner(study=study, work=work), [], objective=Objective(task.sign, task.worst_metric))
    for plan in [queue.next() for _ in range(40)][:-1]:
        assert plan is not None
        record.started(plan)
        path = record.path("epochs", f"{plan.trial_key}.1")
        write_rows(path, "epochs", [_epoch(plan, epoch) for epoch in (1, 2, 3)])
        record.ended(plan, {}, COMPLETED, None)


def _epoch(plan: PlannedTrial, epoch: int) -> dict[str, Any]:
    score = (plan.number + (plan.stage == "random")) / 20
    status, metric = (COMPLETED if epoch == 3 else "running"), 0.5 - score if epoch == 1 else 0.5 + score
    result = epoch_result(epoch, status=status, val_metric=metric)
    values = {name: getattr(result, name) for name in result.__slots__ if name != "layers"}
    return {"trial_key": plan.trial_key, "attempt": 1, **values}


def test_the_same_command_goes_on_after_the_mending(tune_qat: Any, tmp_path: Path) -> None:
    space, results = tmp_path / "early.toml", tmp_path / "results"
    command = ("run", str(space), "--results", str(results), "--max-concurrent", "1", "--no-progress")
    space.write_text(STUDY)
    record_all_but_one(space, results)
    refused = tune_qat(*command)
    assert refused.code == 2, refused
    assert "error: ASHA's first rung, epoch 1 of 3, loses the best trials" in refused.err
    assert "The earliest epoch that holds is 2, with 5 of 5 arms" in refused.err and "Traceback" not in refused.err
    before = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert_whole(results, RANDOM)
    assert not read_rows(results, "studies")[0]["complete"]
    again = tune_qat(*command)
    assert again.code == 2 and "no trial of the search has begun" in again.err
    assert "training steps" not in again.err, "it is known before anything starts"
    space.write_text(STUDY + "[asha]\ngrace_epochs = 2\n")
    done = tune_qat(*command)
    assert done.code == 0 and "ASHA's first rung, epoch 2 of 3, is not refuted" in done.err, done
    assert_whole(results, {**RANDOM, "search": 5})
    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert {key: rows[key] for key in before} == before, "not a trial of before is run again"
    assert {row["rung"] for row in read_rows(results, "decisions")} == {2}
    assert Counter(row["grace_epochs"] for row in read_rows(results, "arms")) == {2: 5}
