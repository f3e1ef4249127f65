"""Turns plans and epochs into the rows that the driver owns: studies, arms, trials, decisions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tune_qat.config import FINAL, stable_hash
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.provenance import versions
from tune_qat.results.reader import last_epochs, read_file
from tune_qat.results.schema import SCHEMA_VERSION
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import Place, Write, remove_folder, write_whole
from tune_qat.study import Arm, Study
from tune_qat.training.checkpoints import load_weights, weights_sha256
from tune_qat.training.workload import Workload
from tune_qat.tuning.plan import WITH_METRIC, Plan
from tune_qat.tuning.scheduler import Decision
from tune_qat.tuning.trainable import KEPT_STAGES

OPTION_COLUMNS = ("momentum", "max_norm", "clip_factor")
"""Optimizer options that have a column of their own; the others are in `params_json`."""
FROM_WORKER = (
    "backend",
    "precision",
    "peak_memory_mb",
    "start_memory_mb",
    "host_hash",
    "device",
    "cuda_version",
    "threads",
    "error_type",
    "error_text",
)


@dataclass
class Record:
    """Writes one study's rows. Every file has one writer, and is replaced whole."""

    results: Place
    study: Study
    work: Workload
    reference_points: Mapping[str, Any]
    sign: int
    write: Write = write_whole
    restarts: dict[str, int] = field(default_factory=dict)
    """Of trials that have been started before, by key: times that each was started again so far."""
    _decisions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _started: dict[str, datetime] = field(default_factory=dict)
    _running: dict[str, dict[str, Any]] = field(default_factory=dict)

    def started(self, plan: Plan) -> None:
        """A row with status `running`, so that a study that is cut off knows what to go on with."""
        key = plan.trial_key
        started = self._started.setdefault(key, now())
        # Counted here and not by the worker, which may be lost before it has written anything.
        self.restarts[key] = self.restarts.get(key, -1) + 1
        row = {"status": "running", "started_at": started, "n_restarts": self.restarts[key]}
        self._write_trial({**self._running.setdefault(key, self._planned(plan)), **row})

    def ended(self, plan: Plan, report: Mapping[str, Any], status: str, stop_reason: str | None) -> dict[str, Any]:
        """The trial's row as it ended, made from its recorded epochs; its checkpoint goes where it is not kept."""
        epochs = last_epochs(self.results, self.study.name, plan.trial_key)
        row: dict[str, Any] = {
            **(self._running.pop(plan.trial_key, {}) or self._planned(plan)),
            **{name: report.get(name) for name in FROM_WORKER},
            **self._outcome(epochs, status),
            "status": status,
            "stop_reason": stop_reason,
            "n_restarts": self.restarts.get(plan.trial_key, 0),
            "rung": self._last_rung(plan, epochs),
            "started_at": self._started.get(plan.trial_key),
            "finished_at": now(),
            "checkpoint_sha256": report.get("checkpoint_sha256"),
        }
        self._write_trial(row)
        if status in FINAL:
            # After the row: without either, the trial would begin anew.
            self.forget_checkpoint(plan)
            # Nothing more is written of it; a study of many trials would keep it all in memory.
            self._decisions.pop(plan.trial_key, None)
            self._started.pop(plan.trial_key, None)
        return row

    def forget_checkpoint(self, plan: Plan) -> None:
        """Remove the checkpoint of a trial that has ended, unless its stage keeps it."""
        if plan.stage not in KEPT_STAGES:
            remove_folder(checkpoint_path(self.results, plan.trial_key).parent)

    def weights_hash(self, plan: Plan) -> str:
        """Hash of the weights that a trial ended with."""
        return weights_sha256(load_weights(checkpoint_path(self.results, plan.trial_key)))

    def decided(self, decision: Decision) -> None:
        """What ASHA decided about a trial at a rung."""
        key = decision.trial_key
        if key not in self._decisions:
            # A trial that goes on was judged at earlier rungs by an earlier run.
            self._decisions[key] = self._decided(key)
        self._decisions[key].append({**asdict(decision), "decided_at": now()})
        write_rows(self._path("decisions", key), "decisions", self._decisions[key], self.write)

    def stopped_at(self, trial_key: str) -> int | None:
        """Epoch at which ASHA has decided to stop a trial; None where it has not."""
        return next((row["epoch"] for row in self._decided(trial_key) if row["action"] == "stop"), None)

    def _decided(self, trial_key: str) -> list[dict[str, Any]]:
        path = self._path("decisions", trial_key)
        return read_file(path).to_pylist() if path.exists() else []

    def arms(self, arms: Sequence[Arm], best: Mapping[str, str | None], init_sha256: str | None) -> None:
        """All arms of the study; `best` holds the chosen configuration of those that have one."""
        rows = [self._arm(arm, best.get(arm.arm_id), init_sha256) for arm in arms]
        write_rows(self._path("arms", "arms"), "arms", rows, self.write)

    def study_row(self, *, started_at: datetime, seconds: float, complete: bool, command: str | None) -> None:
        """The study itself, written at its start and at its end, `seconds` of this run later."""
        finished = now()
        row = {
            "definition_json": self.study.model_dump_json(),
            "schema_version": SCHEMA_VERSION,
            "prereg_hash": self.study.prereg_hash,
            "mode": self.study.mode,
            "seed": self.study.seed,
            "started_at": started_at,
            "finished_at": finished if complete else None,
            "wall_s": seconds if complete else None,
            "tune_qat_version": versions()["tune_qat_version"],
            "git_commit": versions()["git_commit"],
            "command": command,
            "complete": complete,
        }
        write_rows(self._path("studies", "study"), "studies", [row], self.write)

    def _path(self, table: str, name: str) -> Place:
        return table_folder(self.results, table, self.study.name) / f"{name}.parquet"

    def _write_trial(self, row: Mapping[str, Any]) -> None:
        write_rows(self._path("trials", row["trial_key"]), "trials", [row], self.write)

    def _planned(self, plan: Plan) -> dict[str, Any]:
        config = plan.config
        return {
            **{name: config.optimizer_options.get(name) for name in OPTION_COLUMNS},
            "weight_decay": config.weight_decay,
            **versions(),
            "trial_key": plan.trial_key,
            "arm_id": plan.arm_id,
            "stage": plan.stage,
            "trial_number": plan.number,
            "config_id": config.config_id,
            "workload": self.work.name,
            "model": config.model,
            "dataset": config.dataset,
            "optimizer": config.optimizer,
            "quantizer": config.scheme.quantizer,
            "activation_quantizer": config.scheme.activation_quantizer,
            "weight_bits": config.scheme.weight_bits,
            "activation_bits": config.scheme.activation_bits,
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "quantizer_lr_multiplier": config.quantizer_lr_multiplier,
            "quantizer_optimizer": config.quantizer_optimizer and config.quantizer_optimizer.name,
            "schedule": config.schedule,
            "warmup_epochs": config.warmup_epochs,
            "epochs": config.epochs,
            "seed": config.seed,
            "init_seed": config.init_seed,
            "recipe_hash": config.recipe,
            "params_json": json.dumps(config.to_dict(), sort_keys=True),
            "init_checkpoint_sha256": plan.init_checkpoint_sha256,
            "data_fingerprint": self.work.dataset.fingerprint,
            "split_fingerprint": self.work.dataset.split_fingerprint,
            "source": plan.source,
        }

    def _outcome(self, epochs: Sequence[Mapping[str, Any]], status: str) -> dict[str, Any]:
        """Columns that follow from the recorded epochs."""
        if not epochs:
            return {"epochs_run": 0, "steps_run": 0, "examples_seen": 0}
        last = epochs[-1]
        metrics = [row for row in epochs if row["val_metric"] is not None]
        best = max(metrics, key=lambda row: self.sign * row["val_metric"], default=None)
        final = last["val_metric"] if status in WITH_METRIC else None
        trivial = self.reference_points["trivial_score"]
        return {
            "epochs_run": last["epoch"],
            "steps_run": last["step"],
            "examples_seen": last["examples"],
            "train_loss": last["train_loss"],
            "val_loss": last["val_loss"],
            "val_metric": final,
            "val_top5": last["val_top5"] if final is not None else None,
            "val_metric_best": best and best["val_metric"],
            "val_best_epoch": best and best["epoch"],
            **{name: last[name] for name in ("test_metric", "test_top5", "test_loss", "test_n", "test_correct")},
            "learned": self.sign * (final - trivial) > 0 if final is not None else None,
            "diverged_at_step": last["diverged_at_step"],
            "wall_s": last["wall_s"],
            "device_s": last["device_s"],
            "examples_per_s": last["examples"] / last["wall_s"] if last["wall_s"] else None,
        }

    def _last_rung(self, plan: Plan, epochs: Sequence[Mapping[str, Any]]) -> int | None:
        reached = epochs[-1]["epoch"] if epochs else 0
        return (
            max((rung for rung in self.study.rungs if rung <= reached), default=None)
            if plan.stage == "search"
            else None
        )

    def _arm(self, arm: Arm, best: str | None, init_sha256: str | None) -> dict[str, Any]:
        study, dataset = self.study, self.work.dataset
        space = {name: _ranges(study, name) for name in arm.optimizers}
        return {
            "arm_id": arm.arm_id,
            "mode": study.mode,
            "workload": self.work.name,
            "model": self.work.model,
            "dataset": dataset.spec.name,
            "task": dataset.spec.task,
            "dataset_options_json": json.dumps(dict(dataset.options), sort_keys=True),
            "data_fingerprint": dataset.fingerprint,
            "split_fingerprint": dataset.split_fingerprint,
            **{f"n_{split}": size for split, size in dataset.sizes.items()},
            "split_json": json.dumps({k: list(v) for k, v in dataset.names.items()}) if dataset.names else None,
            "metric": dataset.spec.metric,
            "unit": self.reference_points["unit"],
            "sign": self.sign,
            "trivial_score": self.reference_points["trivial_score"],
            "trivial_test_score": self.reference_points["trivial_test_score"],
            "baselines_json": json.dumps(self.reference_points["baselines"]),
            "margin": study.judgement.margin,
            "weight_bits": None if arm.searches_bits else arm.scheme.weight_bits,
            "activation_bits": None if arm.searches_bits else arm.scheme.activation_bits,
            "recipe_hashes_json": json.dumps(study.recipes(arm)),
            "method": arm.method,
            "first_last_bits": arm.scheme.first_last_bits,
            "quantizer": arm.scheme.quantizer,
            "activation_quantizer": arm.scheme.activation_quantizer,
            "quantizer_options_json": json.dumps(arm.quantizer_options),
            "ste": arm.scheme.ste,
            "optimizer": arm.optimizer,
            "repeat": arm.repeat,
            "init": study.training.init,
            "init_checkpoint_sha256": init_sha256,
            "sampler": study.search.sampler,
            "sampler_seed": study.seed_of(arm),
            "scheduler": "asha" if study.asha.enabled else "none",
            "max_epochs": study.training.epochs,
            "grace_epochs": study.first_rung,
            "reduction_factor": float(study.asha.reduction_factor),
            **{f"planned_{stage}": count for stage, count in study.planned(arm).items()},
            "space_json": json.dumps(space, sort_keys=True),
            "space_hash": stable_hash(space),
            "prereg_hash": study.prereg_hash,
            "best_config_id": best,
        }


def _ranges(study: Study, optimizer: str) -> dict[str, Any]:
    return {name: asdict(bounds) for name, bounds in study.dimensions(optimizer).items()}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
