"""A study with several rungs for simulations, and a record of it on disk without a trial being trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.results.rows import epoch_result
from tests.tuning.studies import tiny
from tune_qat import workload
from tune_qat.config import TrialConfig
from tune_qat.results.writer import EpochLog
from tune_qat.study import Study
from tune_qat.tuning.record import Record, now
from tune_qat.tuning.simulation.closed_form import ClosedForm
from tune_qat.tuning.simulation.loop import Simulation, simulate
from tune_qat.workload import Workload


def small(**changes: Any) -> Study:
    """Four arms of two optimizers with 12 trials each, nine epochs, rungs at 1, 2, 4 and 8."""
    values: dict[str, Any] = {
        "name": "small",
        "training": {"epochs": 9},
        "stages": {"default": True, "random": 3, "search": 6, "retrain": 2},
        "asha": {"grace_epochs": 1, "reduction_factor": 2},
    }
    return tiny(**{**values, **changes})


@dataclass(frozen=True, kw_only=True)
class OnData(ClosedForm):
    """The formula, with the keys that trials have on real data."""

    work: Workload

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        return self.work.key(config, stage, init_checkpoint_sha256)


def write_record(results: Path, study: Study, *, workers: int = 1) -> Simulation:
    """Simulate a study with the formula, and leave what a real run would have left, but for checkpoints."""
    work = workload.load(study.workload.model, study.workload.dataset, options=study.workload.options)
    done = simulate(study, OnData(study=study, init_sha256="0" * 64, work=work), workers=workers)
    points = {"trivial_score": 0.1, "trivial_test_score": 0.1, "baselines": {}, "unit": "fraction"}
    record = Record(results, study, work, points, 1)
    for run in done.runs:
        record.started(run.plan)
        log, held = EpochLog(results, study.name, run.plan.trial_key), 0.0
        for row, seconds in zip(done.memory.epochs[run.plan.trial_key], run.curve.device_seconds, strict=False):
            held += seconds
            values = {name: row[name] for name in ("status", "val_metric")}
            log.append(epoch_result(row["epoch"], device_s=held, wall_s=held, **values))
        outcome = done.memory.outcomes[run.plan.trial_key]
        record.ended(run.plan, outcome, outcome["status"], outcome["stop_reason"])
    for decision in done.memory.decisions.values():
        record.decided(decision)
    record.arms(study.arms(), {}, done.queue.init_sha256)
    record.study_row(started_at=now(), complete=True, command=None)
    return done
