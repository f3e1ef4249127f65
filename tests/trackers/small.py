"""A small record with a trial of every kind, and what a tool should be told of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.helpers.records import SmallStudy
from tests.helpers.rows import MOMENT, filled, write
from tune_qat.results.reader import read_rows

RATES = {"completed": 1e-3, "stopped": 1e-2, "diverged": 0.5, "oom": 1e-4, "error": 2e-4, "running": 3e-4}
CURVES: dict[str, tuple[float | None, ...]] = {
    "completed": (0.5, 0.6, 0.7, 0.75),
    "stopped": (0.4, 0.45),
    "diverged": (0.3, None),
    "oom": (),
    "error": (0.2,),
    "running": (0.25, 0.35),
}


def small_record(results: Path) -> SmallStudy:
    """Two optimizers at 4 bits: a trial of each status, a retrained one with a test metric, the start, a calibrated."""
    study = SmallStudy(results, "small")
    for optimizer in ("adam", "sgd"):
        study.arm(optimizer, method="lsq", whole="whole", repeat=0)
    for status, rate in RATES.items():
        search_trial(study, "adam-w4a4", status, learning_rate=rate)
    key = study.trial(
        "sgd-w4a4", "retrain", seed=7, val_metric=0.8, test_metric=0.78, momentum=0.9, learning_rate=0.1, **_moments(4)
    )
    study.curve(key, 0.5, 0.6, 0.7, 0.8, test_metric=[None] * 3 + [0.78], **_columns(4))
    of_none = {"workload": "m-d", "learning_rate": None, "optimizer": None, "epochs": 0, "epochs_run": None}
    calibrated = {"val_metric": 0.55, "test_metric": 0.54, "calibrated_metric": 0.55, **_moments(0)}
    write_trial(study, "calibrated", "c1", {**of_none, **calibrated})
    write_trial(study, "pretrain", "p1", {"optimizer": "adam", "learning_rate": 1e-3, "val_metric": 0.9, **_moments(2)})
    study.curve("p1", 0.8, 0.9, **_columns(2))
    return study


def search_trial(study: SmallStudy, arm: str, status: str, **values: Any) -> str:
    """A trial of the search with the curve of its status."""
    curve = CURVES[status]
    known = curve[-1] if status in ("completed", "stopped") else None
    ended = _moments(len(curve)) if status != "running" else {"started_at": MOMENT}
    if known is not None:
        ended |= {"val_metric_best": known, "val_loss": 1 - known, "train_loss": 0.125}
    reason = {"stop_reason": "asha", "rung": 2} if status == "stopped" else {}
    key = study.trial(arm, "search", status, val_metric=known, epochs_run=len(curve), **{**ended, **reason, **values})
    if curve:
        losses = [None if metric is None else 1 - metric for metric in curve]
        study.curve(key, *curve, **{**_columns(len(curve)), "val_loss": losses})
    return key


def write_trial(study: SmallStudy, arm: str, key: str, values: dict[str, Any]) -> None:
    known = {"trial_key": key, "arm_id": arm, "stage": arm, "status": "completed", "params_json": "{}"}
    write(study.results, study.name, "trials", key, filled("trials", **{**known, **values}))


def rows_of(results: Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each trial's row with those of its epochs, by key."""
    epochs = sorted(read_rows(results, "epochs"), key=lambda row: (row["attempt"], row["epoch"]))
    found: dict[str, tuple[dict[str, Any], dict[int, dict[str, Any]]]]
    found = {row["trial_key"]: (row, {}) for row in read_rows(results, "trials")}
    for row in epochs:
        found[row["trial_key"]][1][row["epoch"]] = row
    return {key: (row, list(own.values())) for key, (row, own) in found.items()}


def _columns(n: int) -> dict[str, list[Any]]:
    seconds = [10.0 * (number + 1) for number in range(n)]
    calibrated = [0.1] + [None] * (n - 1)
    rates = [0.5 / (number + 1) for number in range(n)]
    return {"device_s": seconds, "calibrated_metric": calibrated, "learning_rate": rates, "train_loss": rates}


def _moments(epochs: int) -> dict[str, Any]:
    return {"started_at": MOMENT, "finished_at": MOMENT + timedelta(seconds=10 * epochs + 1)}
