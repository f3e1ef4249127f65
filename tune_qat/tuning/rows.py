"""Columns of the tables that the driver writes, from plans and epochs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.config import Scheme, stable_hash
from tune_qat.config.statuses import CALIBRATED, COMPLETED, SEARCH, WITH_METRIC
from tune_qat.results.provenance import versions
from tune_qat.study import Arm, Study
from tune_qat.study.space import GROUP_BITS, STEP_RATE
from tune_qat.study.steps import level_column, moved_by
from tune_qat.training.workload import Workload
from tune_qat.tuning.allocated import mixed_columns
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.earlier import spaces_of, to_json
from tune_qat.tuning.plan import PlannedTrial

OPTION_COLUMNS = ("momentum", "max_norm", "clip_factor")
"""Optimizer options with a column of their own; the others are in `params_json`."""
# Columns with the name of an attribute of the configuration, of its scheme, or of an epoch's row.
CONFIG_COLUMNS = ("config_id", "model", "dataset", "optimizer", "learning_rate", "batch_size", "weight_decay")
SCHEDULE_COLUMNS = ("quantizer_lr_multiplier", "schedule", "warmup_epochs", "epochs", "seed", "init_seed")
SCHEME_COLUMNS = ("quantizer", "activation_quantizer", "weight_bits", "activation_bits")
LAST_EPOCH_COLUMNS = ("train_loss", "val_loss", "diverged_at_step", "wall_s", "device_s")
TEST_COLUMNS = ("test_metric", "test_top5", "test_loss", "test_n", "test_correct", "test_images_json")
CALIBRATED_COLUMNS = ("val_loss", "val_metric", "val_top5", "calibrated_metric", *TEST_COLUMNS)
"""Columns that a trial of the stage `calibrated` has of its evaluations."""
UNTRAINED = {
    "epochs": 0,
    **dict.fromkeys(("optimizer", "learning_rate", "weight_decay", *OPTION_COLUMNS)),
}
"""Columns of such a trial that say how one is trained, beside the schedule: nothing moves a weight."""


def planned_columns(plan: PlannedTrial, work: Workload) -> dict[str, Any]:
    """Return the columns of a trial that are known before it runs."""
    config = plan.config
    columns = {
        **versions(),
        **{name: config.optimizer_options.get(name) for name in OPTION_COLUMNS},
        **{name: getattr(config, name) for name in CONFIG_COLUMNS + SCHEDULE_COLUMNS},
        **{name: getattr(config.scheme, name) for name in SCHEME_COLUMNS},
        "trial_key": plan.trial_key,
        "arm_id": plan.arm_id,
        "stage": plan.stage,
        "trial_number": plan.number,
        "workload": work.name,
        "quantizer_optimizer": config.quantizer_optimizer and config.quantizer_optimizer.name,
        "recipe_hash": config.recipe_of(
            step_rate_searched=STEP_RATE in plan.values,
            layers_searched=any(name.startswith(GROUP_BITS) for name in plan.values),
        ),
        "params_json": json.dumps(config.to_dict(), sort_keys=True),
        "init_checkpoint_sha256": plan.init_checkpoint_sha256,
        "data_fingerprint": work.dataset.fingerprint,
        "split_fingerprint": work.dataset.split_fingerprint,
        "source": plan.source,
        "micro_batch": config.micro_batch or config.batch_size,
        "autocast": config.autocast,
        "channels_last": config.channels_last,
    }
    return columns | (UNTRAINED if plan.stage == CALIBRATED else {})


def ended_columns(
    plan: PlannedTrial,
    epochs: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any],
    status: str,
    *,
    sign: int,
    trivial_score: float,
) -> dict[str, Any]:
    """Return the columns of an ended trial that follow from its epochs; without training, from what was `found`."""
    if plan.stage == CALIBRATED:
        return calibrated_columns(found, status, sign=sign, trivial_score=trivial_score)
    return outcome_columns(epochs, status, sign=sign, trivial_score=trivial_score)


def calibrated_columns(found: Mapping[str, Any], status: str, *, sign: int, trivial_score: float) -> dict[str, Any]:
    """Return the columns that follow from the evaluation of a model that is not trained; `found` is its report."""
    metric = found.get("val_metric") if status == COMPLETED else None
    known = {name: found.get(name) for name in CALIBRATED_COLUMNS} if metric is not None else {}
    return {
        **outcome_columns((), status, sign=sign, trivial_score=trivial_score),
        **known,
        "device_s": found.get("device_s"),
        "learned": None if metric is None else sign * (metric - trivial_score) > 0,
    }


def outcome_columns(
    epochs: Sequence[Mapping[str, Any]], status: str, *, sign: int, trivial_score: float
) -> dict[str, Any]:
    """Return the columns of a trial that follow from its recorded epochs."""
    if not epochs:
        return {"epochs_run": 0, "steps_run": 0, "examples_seen": 0}
    last = epochs[-1]
    metrics = [row for row in epochs if row["val_metric"] is not None]
    best = max(metrics, key=lambda row: sign * row["val_metric"], default=None)
    final = last["val_metric"] if status in WITH_METRIC else None
    return {
        "epochs_run": last["epoch"],
        "steps_run": last["step"],
        "examples_seen": last["examples"],
        # Epochs of earlier versions lack later columns.
        **{name: last.get(name) for name in LAST_EPOCH_COLUMNS + TEST_COLUMNS},
        "calibrated_metric": epochs[0].get("calibrated_metric"),
        "val_metric": final,
        "val_top5": last["val_top5"] if final is not None else None,
        "val_metric_best": best and best["val_metric"],
        "val_best_epoch": best and best["epoch"],
        "learned": sign * (final - trivial_score) > 0 if final is not None else None,
        "examples_per_s": last["examples"] / last["wall_s"] if last["wall_s"] else None,
    }


def last_rung(study: Study, plan: PlannedTrial, epochs: Sequence[Mapping[str, Any]]) -> int | None:
    """Find the last of ASHA's rungs that a search trial has reached."""
    reached = epochs[-1]["epoch"] if epochs and plan.stage == SEARCH else 0
    return max((rung for rung in study.rungs if rung <= reached), default=None)


def arm_columns(study: Study, work: Workload, arm: Arm, chosen: Scheme | None = None) -> dict[str, Any]:
    """Return the columns of an arm: its data, its method, and its search; `chosen` is the scheme of its choice."""
    drawn = study.drawn(arm.repeat)
    dataset, points, space = work.dataset, study.points(arm), to_json(spaces_of(study, arm))
    return {
        "arm_id": arm.arm_id,
        "mode": study.mode,
        "workload": work.name,
        "model": work.model,
        "dataset": dataset.spec.name,
        "task": dataset.spec.task,
        "dataset_options_json": json.dumps(dict(dataset.options), sort_keys=True),
        "data_fingerprint": dataset.fingerprint,
        "split_fingerprint": dataset.split_fingerprint,
        **{f"n_{split}": size for split, size in dataset.sizes.items()},
        "split_json": json.dumps({k: list(v) for k, v in dataset.names.items()}) if dataset.names else None,
        "metric": dataset.spec.metric,
        "margin": study.judgement.margin,
        "weight_bits": None if arm.searches_bits else arm.scheme.weight_bits,
        "activation_bits": None if arm.searches_bits else arm.scheme.activation_bits,
        "recipe_hashes_json": json.dumps(study.recipes(arm)),
        "method": arm.method,
        **{name: getattr(arm.scheme, name) for name in ("first_last_bits", "quantizer", "activation_quantizer", "ste")},
        "quantizer_options_json": json.dumps(arm.quantizer_options),
        **mixed_columns(study, arm, chosen),
        "optimizer": arm.optimizer,
        "step_optimizer": level_column(study.space, arm),
        "steps_moved_by": moved_by(arm, study.quantizer_optimizer),
        "control": arm.control,
        "control_for": arm.control_for,
        "repeat": arm.repeat,
        "whole": study.whole,
        "varies_json": json.dumps(study.repeat.varies) if study.repeat else None,
        "start_name": drawn.start.label if drawn.start else None,
        "init": study.training.init,
        "sampler": study.search.sampler,
        "objectives_json": json.dumps(study.search.objectives) if study.search.objectives else None,
        "sampler_seed": study.design_seed(arm),
        "design": study.stages.design,
        "scheduler": "asha" if study.stops_early else "none",
        "max_epochs": study.training.epochs,
        "grace_epochs": study.first_rung,
        "reduction_factor": float(study.asha.reduction_factor),
        **{f"planned_{stage}": count for stage, count in study.planned(arm).items()},
        "space_json": space,
        "space_hash": stable_hash(json.loads(space)),
        "space_points": None if points is None else len(points),
        "prereg_hash": study.prereg_hash,
    }


def front_columns(state: ArmState | None) -> dict[str, Any]:
    """Return an arm's columns of the points that it has chosen, from several objectives."""
    if state is None:
        return {}
    chosen = [plan.config.config_id for plan, _ in state.choices]
    return {"planned_retrain": state.planned_retrain, "front_config_ids_json": json.dumps(chosen) if chosen else None}
