"""Small records of studies without training, written with the real writer."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from tests.helpers.rows import filled, write
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study

BOARD = ("study_id", "mode", "workload", "method", "weight_bits", "activation_bits")
SPACE = {
    "adam": {"learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}, "batch_size": {"low": 8, "high": 64}},
    "sgd": {"learning_rate": {"low": 1e-4, "high": 1.0, "log": True}, "batch_size": {"low": 8, "high": 64}},
}


class SmallStudy:
    """A study whose arms and trials are given one by one; a metric is better the larger it is, unless `sign` is -1."""

    def __init__(self, results: StoragePath, name: str, *, sign: int = 1, mode: str = "comparison") -> None:
        self.results, self.name, self.sign, self.mode = results, name, sign, mode
        self._arms: list[dict[str, Any]] = []
        self._trials = 0

    def arm(self, optimizer: str | None, bits: int = 4, **values: Any) -> str:
        """An arm that plans 1 default, 2 random, 6 search and 3 retrain trials of 4 epochs; its id."""
        arm_id = values.pop("arm_id", f"{optimizer or 'joint'}-w{bits}a{bits}")
        known = {
            "mode": self.mode,
            "workload": "m-d",
            "metric": "accuracy" if self.sign > 0 else "error",
            "unit": "fraction",
            "sign": self.sign,
            "trivial_score": 0.5,
            "trivial_test_score": 0.4,
            "weight_bits": bits,
            "activation_bits": bits,
            "quantizer": "lsq",
            "ste": "clip_then_round",
            "first_last_bits": 8,
            "init": "pretrain",
            "init_checkpoint_sha256": "start",
            "n_train": 1000,
            "max_epochs": 4,
            "planned_default": 1,
            "planned_random": 2,
            "planned_search": 6,
            "planned_retrain": 3,
            "space_json": json.dumps(SPACE),
            "best_config_id": "best",
        }
        row = filled("arms", arm_id=arm_id, optimizer=optimizer, **{**known, **values})
        self._arms.append(row)
        self._write("arms", "arms", *self._arms)
        return arm_id

    @property
    def arm_ids(self) -> list[str]:
        return [row["arm_id"] for row in self._arms]

    def trial(self, arm_id: str, stage: str, status: str = "completed", **values: Any) -> str:
        """A trial of an arm, of its chosen configuration where the stage is retrain; its key."""
        arm = next(row for row in self._arms if row["arm_id"] == arm_id)
        self._trials += 1
        scheme = {name: values.pop(name, arm[name]) for name in ("ste", "first_last_bits")}
        known = {
            "trial_key": f"t{self._trials:03}",
            "workload": arm["workload"],
            "optimizer": arm["optimizer"],
            "weight_bits": arm["weight_bits"],
            "activation_bits": arm["activation_bits"],
            "quantizer": arm["quantizer"],
            "learning_rate": 1e-3,
            "batch_size": 32,
            "epochs": arm["max_epochs"],
            "config_id": "best" if stage == "retrain" else f"c{self._trials}",
            "params_json": json.dumps({"scheme": scheme}),
            "init_checkpoint_sha256": "start",
            "epochs_run": arm["max_epochs"],
            "device_s": 2.0,
        }
        row = filled("trials", arm_id=arm_id, stage=stage, status=status, **{**known, **values})
        self._write("trials", row["trial_key"], row)
        return str(row["trial_key"])

    def curve(self, trial_key: str, *metrics: float | None, **columns: Sequence[Any]) -> None:
        """The first epochs of a trial, with these validation metrics; any other column has a value for each."""
        rows = [
            {"trial_key": trial_key, "attempt": 1, "epoch": number, "val_metric": metric}
            | {name: values[number - 1] for name, values in columns.items()}
            for number, metric in enumerate(metrics, start=1)
        ]
        self._write("epochs", f"{trial_key}.1", *(filled("epochs", **row) for row in rows))

    def whole_trial(
        self,
        arm_id: str,
        stage: str,
        status: str = "completed",
        *,
        metric: float = 0.75,
        oscillation: float | None = None,
        **values: Any,
    ) -> None:
        """A trial with all its epochs and a layer, which oscillates as much as the metric is if nothing is said."""
        key = self.trial(arm_id, stage, status, val_metric=metric, **values)
        layer = {"oscillation_frequency": metric if oscillation is None else oscillation}
        self.last_epoch(key, [layer], val_metric_pre_bn=0.7)
        self.curve(key, 0.6, 0.65, 0.7, metric, val_metric_pre_bn=[0.7] * 4, train_loss=[0.5] * 4)

    def last_epoch(self, trial_key: str, layers: Sequence[dict[str, Any]] = (), **values: Any) -> None:
        """The fourth and last epoch of a trial, with the rows of its layers."""
        known = {"trial_key": trial_key, "attempt": 1, "epoch": 4}
        self._write("epochs", f"{trial_key}.1", filled("epochs", **known, **values))
        rows = [filled("layers", **{**known, "kind": "weight", **layer}) for layer in layers]
        self._write("layers", f"{trial_key}.1", *rows)

    def retrain(self, arm_id: str, *scores: float | None, **values: Any) -> None:
        """Retrain trials with these test metrics; None: diverged."""
        for seed, score in enumerate(scores):
            status = "diverged" if score is None else "completed"
            self.trial(arm_id, "retrain", status, seed=seed, test_metric=score, **values)

    def _write(self, table: str, name: str, *rows: dict[str, Any]) -> None:
        write(self.results, self.name, table, name, *rows)


class StudyAtOnce(SmallStudy):
    """The same, written when all is there: a file for each table."""

    def __init__(self, results: StoragePath, name: str) -> None:
        super().__init__(results, name)
        self._files: dict[tuple[str, str], Sequence[dict[str, Any]]] = {}

    def _write(self, table: str, name: str, *rows: dict[str, Any]) -> None:
        self._files[table, name] = rows

    def write_all(self) -> None:
        for table in {table for table, _ in self._files}:
            rows = [row for (of, _), rows in self._files.items() if of == table for row in rows]
            write(self.results, self.name, table, "all", *rows)


def record_of(study: Study, results: StoragePath, **values: Any) -> SmallStudy:
    """A study's definition and its arms as they are, each with these values, and no trial yet."""
    record = SmallStudy(results, study.name, mode=study.mode)
    definition = {"definition_json": study.model_dump_json(), "mode": study.mode, "complete": True}
    write(results, study.name, "studies", "study", filled("studies", **definition))
    for arm in study.arms():
        ranges = {
            name: {key: asdict(bounds) for key, bounds in study.dimensions(name, level=arm.step_optimizer).items()}
            for name in arm.optimizers
        }
        known = {"arm_id": arm.arm_id, "space_json": json.dumps(ranges), "n_train": 10_000}
        record.arm(arm.optimizer, arm.scheme.weight_bits, **{**known, **values})
    return record


def whole_study(results: StoragePath) -> SmallStudy:
    """The study `whole`, about which every bundled question has something to answer."""
    study = SmallStudy(results, "whole")
    write_arms(study)
    for arm in study.arm_ids:
        for stage in ("default", "random", "random", "search"):
            study.whole_trial(arm, stage)
        for stage in ("search", "finalists"):
            study.whole_trial(arm, stage, config_id="best")
        for seed in (1, 2):
            study.whole_trial(arm, "retrain", seed=seed, test_metric=0.8)
    return study


def write_arms(study: SmallStudy) -> None:
    """Two optimizers in floating point and at 4 bits, with ASHA, on a workload of which something is published."""
    published: dict[str, Any] = {"workload": "espcn-div2k", "metric": "psnr", "unit": "dB"}
    asha: dict[str, Any] = {"scheduler": "asha", "grace_epochs": 1, "reduction_factor": 2.0}
    for bits in (32, 4):
        for optimizer in ("adam", "sgd"):
            study.arm(optimizer, bits, quantizer="lsq" if bits < 32 else "none", **published, **asha)


def rows(found: pd.DataFrame, *columns: str) -> list[list[Any]]:
    """Values of columns, None where there is none."""
    chosen = found[list(columns)]
    return chosen.astype(object).where(chosen.notna(), None).values.tolist()
