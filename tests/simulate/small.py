"""A study with several rungs for simulations, and a record of it on disk without a trial being trained."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.helpers.records import record_of
from tests.helpers.rows import MOMENT, epoch_result, filled, write
from tests.helpers.studies import tiny_study
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Run, Simulation, simulate
from tune_qat.study import Study


def small(**changes: Any) -> Study:
    """Four arms of two optimizers with 12 trials each, nine epochs, rungs at 1, 2, 4 and 8."""
    values: dict[str, Any] = {
        "name": "small",
        "training": {"epochs": 9},
        "stages": {"default": True, "random": 3, "search": 6, "retrain": 2},
        "asha": {"grace_epochs": 1, "reduction_factor": 2},
    }
    return tiny_study(**{**values, **changes})


def write_record(results: Path, study: Study, *, workers: int = 1) -> Simulation:
    """Simulate a study with the formula, and write what a real run of it would have left, as far as it is read."""
    curves = ClosedForm.of(study)
    done = simulate(study, curves, workers=workers)
    keys = {"data_fingerprint": "stand-in", "split_fingerprint": "stand-in", "init_checkpoint_sha256": "stand-in"}
    scheduler = "asha" if study.asha.enabled else "none"
    record_of(study, results, scheduler=scheduler, **keys)
    spans = {run.plan.trial_key: _span(run) for run in done.runs}
    trials = [filled("trials", **_known(row), **spans[row["trial_key"]]) for row in done.memory.rows()]
    write(results, study.name, "trials", "all", *trials)
    write(results, study.name, "epochs", "all", *(row for run in done.runs for row in _epochs(run, done)))
    return done


def _span(run: Run) -> dict[str, Any]:
    ended = run.ended_at or 0.0
    began = ended - sum(run.curve.seconds[: run.epoch])
    return {"started_at": MOMENT + timedelta(seconds=began), "finished_at": MOMENT + timedelta(seconds=ended)}


def _known(row: dict[str, Any]) -> dict[str, Any]:
    config = json.loads(row["params_json"])
    return {
        **row,
        **{name: config[name] for name in ("optimizer", "learning_rate", "batch_size", "epochs")},
        "threads": 1,
    }


def _epochs(run: Run, done: Simulation) -> list[dict[str, Any]]:
    rows, held = [], 0.0
    for known, seconds in zip(done.memory.epochs[run.plan.trial_key], run.curve.device_seconds, strict=False):
        held += seconds
        result = epoch_result(known["epoch"], status=known["status"], val_metric=known["val_metric"], device_s=held)
        rows.append({"trial_key": run.plan.trial_key, "attempt": 1, **_plain(result)})
    return rows


def _plain(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__slots__ if name != "layers"}
