"""Account of a trial for every tool: parameters, tags, curves and final values, by the names that it shows."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tune_qat.config.statuses import COMPLETED, FINAL, STOPPED
from tune_qat.trackers.recorded import Recorded, Row

PARAMETERS = (
    *("optimizer", "learning_rate", "batch_size", "weight_bits", "activation_bits", "quantizer"),
    *("activation_quantizer", "stage", "weight_decay", "momentum", "max_norm", "clip_factor"),
    *("quantizer_lr_multiplier", "quantizer_optimizer", "schedule", "warmup_epochs", "epochs", "seed", "init_seed"),
)
"""Columns of `trials` that say how a trial was trained, in the order of a reader."""
OF_ARM = ("method", "step_optimizer", "control", "repeat", "start_name")
"""Columns of `arms` that say so, too."""
OPTION_COLUMNS = ("weight_decay", "momentum", "max_norm", "clip_factor")
IDENTITY = ("study_id", "arm_id", "trial_key", "config_id", "trial_number", "source", "model", "dataset", "device")
"""Columns of `trials` that are known from the start and are no parameters."""
OUTCOME = ("status", "stop_reason", "rung", "error_type", "diverged_at_step", "learned", "n_restarts", "taken_from")
"""Columns of `trials` that are known at the end and are no numbers to compare."""

CURVES = {
    "train_loss": "train/loss",
    "train_metric": "train/{metric}",
    "val_loss": "val/loss",
    "val_metric": "val/{metric}",
    "val_top5": "val/top5",
    "val_metric_pre_bn": "val/{metric}_pre_bn",
    "calibrated_metric": "val/{metric}_calibrated",
    "test_metric": "test/{metric}",
    "test_top5": "test/top5",
    "test_loss": "test/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "grad_norm_max": "train/grad_norm_max",
    "clip_fraction": "train/clip_fraction",
    "nonfinite_steps": "train/nonfinite_steps",
    "step": "train/steps",
    "examples": "train/examples",
    "wall_s": "train/wall_s",
    "device_s": "train/device_s",
}
"""Names of curves, by the column of `epochs`."""
FINALS = {
    "val_metric": "when_ended/val_{metric}",
    "test_metric": "when_ended/test_{metric}",
    "val_metric_best": "when_ended/val_{metric}_best",
    "calibrated_metric": "when_ended/val_{metric}_calibrated",
    "val_loss": "when_ended/val_loss",
    "train_loss": "when_ended/train_loss",
    "test_loss": "when_ended/test_loss",
    "val_top5": "when_ended/val_top5",
    "test_top5": "when_ended/test_top5",
    "epochs_run": "when_ended/epochs_run",
    "wall_s": "when_ended/wall_s",
    "device_s": "when_ended/device_s",
    "peak_memory_mb": "when_ended/peak_memory_mb",
}
"""Names of final values, by the column of `trials`."""
CALIBRATED = "calibrated_metric"
"""Column of the first epoch with a value from before it."""

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Values after an epoch."""

    epoch: int
    at: float
    """Time in seconds since 1970."""
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """One trial, as a run of a tool. No value is NaN: what is not known is left out."""

    study: str
    arm: str
    stage: str
    key: str
    name: str
    """Stage and key: two stages may train one configuration."""
    metric: str
    unit: str
    parameters: Mapping[str, Value]
    identity: Mapping[str, Value]
    outcome: Mapping[str, Value]
    """How it ended; nothing while it has not."""
    points: tuple[Point, ...]
    finals: Mapping[str, float]
    """Numbers of the ended trial, from its row: none of a trial that may go on."""
    started_at: float
    """Start in seconds since 1970; 0 where the record does not say."""
    ended_at: float

    @property
    def ended(self) -> bool:
        return bool(self.outcome)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with a metric; stopped by ASHA is no failure."""
        return self.outcome.get("status") in (COMPLETED, STOPPED)


def tracked(found: Recorded) -> TrackedRun:
    """Return what tools are told of a trial; an epoch's time is the last start and the seconds on the device."""
    trial, arm = found.trial, found.arm
    metric = str(arm.get("metric") or "metric")
    ended, begun = trial["status"] in FINAL, _seconds(trial.get("started_at") or trial.get("finished_at"))
    points = tuple(_points(found, metric, begun))
    return TrackedRun(
        study=trial["study_id"],
        arm=trial["arm_id"],
        stage=trial["stage"],
        key=trial["trial_key"],
        name=f"{trial['stage']}-{trial['trial_key']}",
        metric=metric,
        unit=str(arm.get("unit") or ""),
        parameters=_parameters(found),
        identity=_known(trial, IDENTITY) | _known(arm, ("whole",)),
        outcome=_known(trial, OUTCOME) if ended else {},
        points=points,
        finals=_named(trial, FINALS, metric) if ended else {},
        started_at=begun,
        ended_at=max(_seconds(trial.get("finished_at")), points[-1].at if points else begun),
    )


def shown_metric(metric: str) -> str:
    """Return a metric's part of a name; one that is called like another curve gets a word more."""
    return f"{metric}_metric" if metric in ("loss", "top5") else metric


def other_options(trial: Row) -> dict[str, Value]:
    """Return the optimizer's options that have no column of their own."""
    options = json.loads(trial.get("params_json") or "{}")
    options = options.get("optimizer_options") if isinstance(options, dict) else None
    known = options if isinstance(options, dict) and trial.get("optimizer") is not None else {}
    return {name: value for name, value in known.items() if name not in OPTION_COLUMNS and _is_value(value)}


def _parameters(found: Recorded) -> dict[str, Value]:
    of_arm = _known(found.arm, OF_ARM) if found.of_arm else {}
    return {**_known(found.trial, PARAMETERS), **other_options(found.trial), **of_arm}


def _points(found: Recorded, metric: str, begun: float) -> list[Point]:
    points: list[Point] = []
    for row in found.epochs:
        seconds = row.get("device_s") if row.get("device_s") is not None else row.get("wall_s")
        first = {CALIBRATED: row.get(CALIBRATED)}
        before = _named(first, CURVES, metric)
        if before and not points:
            points.append(Point(epoch=0, at=begun, values=before))
        now = _named({**row, CALIBRATED: None}, CURVES, metric)
        points.append(Point(epoch=row["epoch"], at=begun + (seconds or 0.0), values=now))
    return points


def _named(row: Row, names: Mapping[str, str], metric: str) -> dict[str, float]:
    shown = shown_metric(metric)
    known = {name.format(metric=shown): row.get(column) for column, name in names.items()}
    return {name: float(value) for name, value in known.items() if value is not None and math.isfinite(value)}


def _known(row: Row, names: tuple[str, ...]) -> dict[str, Value]:
    return {name: row[name] for name in names if row.get(name) is not None}


def _is_value(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
