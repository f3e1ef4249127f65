"""Rows of our tables made from a found study. Values that it does not record are NULL or `unknown`, never made up."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_qat.config import UsageError, stable_hash
from tune_qat.config.secrets import HIDDEN, names_secret
from tune_qat.config.shown import shown
from tune_qat.config.statuses import COMPLETED, DEFAULT, DIVERGED, FINALISTS, RANDOM, RETRAIN, RUNNING, SEARCH
from tune_qat.importing.found import FoundStudy, FoundTrial, is_number
from tune_qat.importing.roles import Taken
from tune_qat.importing.values import NOT_QUANTIZED, values_of
from tune_qat.results.provenance import versions
from tune_qat.results.publishable import publishable

UNKNOWN = "unknown"
ARM = "joint"
"""Name of the only arm: one search covered all optimizers, so that they are never ranked."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows to write for a study, and the number of trials left out."""

    arm: Mapping[str, Any]
    trials: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    left_out: int
    """Number of trials that failed or were interrupted before they had all needed values."""
    optimizers: Mapping[str, str]
    """Our spelling of each optimizer's name, by the study's own."""


def rows(study: FoundStudy, taken: Mapping[str, Taken], study_id: str, trivial: float | None) -> Rows:
    """Return the rows of the study's arm, trials and epochs.

    Args:
        study: the study as it was found.
        taken: source of each role's values.
        study_id: the study's name in our record.
        trivial: score of the best constant prediction, or None if the user does not know it.

    Raises:
        UsageError: no trial can be imported; a trial that ended well lacks a needed value, or has an invalid one.
    """
    placed = [(trial, values) for trial in study.trials if (values := values_of(study, trial, taken)) is not None]
    if not placed:
        raise UsageError(f"Study {shown(study.name)} in {study.shown_in} has no trial that could be imported.")
    longest = max(max(trial.reports, default=1) for trial, _ in placed)
    bits = {(values["weight_bits"], values["activation_bits"]) for _, values in placed}
    shared = {
        "workload": study_id,
        "quantizer": "none" if bits <= {(NOT_QUANTIZED, NOT_QUANTIZED)} else UNKNOWN,
        **dict.fromkeys(("model", "dataset", "data_fingerprint", "split_fingerprint"), UNKNOWN),
    }
    arm = _arm(study, _space(taken, placed), longest, trivial)
    weight_bits, activation_bits = bits.pop() if len(bits) == 1 else (None, None)
    about = {"epochs": longest, "tune_qat_version": str(versions()["tune_qat_version"]), **shared}
    return Rows(
        arm={**shared, "weight_bits": weight_bits, "activation_bits": activation_bits, **arm},
        trials=[{**about, **values, **_trial(study, trial, taken, values, trivial)} for trial, values in placed],
        epochs=[row for trial, _ in placed for row in _epochs(trial, _key(study, trial))],
        left_out=len(study.trials) - len(placed),
        optimizers=dict(
            sorted((str(taken["optimizer"].value(trial)), values["optimizer"]) for trial, values in placed)
        ),
    )


def _key(study: FoundStudy, trial: FoundTrial) -> str:
    return stable_hash([study.tool, study.found_in, study.name, trial.number])


def _trial(
    study: FoundStudy, trial: FoundTrial, taken: Mapping[str, Taken], values: Mapping[str, Any], trivial: float | None
) -> dict[str, Any]:
    named = _plain(trial.named)
    roles = {one.name_in(trial) for one in taken.values()}
    others = {name: value for name, value in named.items() if name in trial.parameters and name not in roles}
    config = {
        **{name: values[name] for name in ("optimizer", "learning_rate", "batch_size")},
        "optimizer_options": {name: value for name, value in others.items() if is_number(value)},
        "imported": named,
    }
    scored = [(epoch, value) for epoch, value in trial.reports.items() if value is not None]
    best = max(scored, key=lambda one: study.sign * one[1], default=(None, None))
    learned = None if trivial is None or trial.result is None else study.sign * (trial.result - trivial) > 0
    return {
        "trial_key": _key(study, trial),
        "arm_id": ARM,
        "stage": SEARCH,
        "trial_number": trial.number,
        "config_id": stable_hash(config),
        "schedule": UNKNOWN,
        "params_json": json.dumps(config, allow_nan=False),
        "source": "import",
        "status": trial.status,
        "stop_reason": trial.stop_reason,
        "error_text": trial.error_text,
        "epochs_run": max(trial.reports, default=0),
        "val_metric": trial.result,
        "val_metric_best": best[1],
        "val_best_epoch": best[0],
        "learned": learned,
        "wall_s": trial.duration,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
    }


def _epochs(trial: FoundTrial, trial_key: str) -> list[dict[str, Any]]:
    last = max(trial.reports, default=0)
    ended = trial.status if trial.status in (COMPLETED, DIVERGED) else RUNNING
    return [
        {
            "trial_key": trial_key,
            "attempt": 1,
            "epoch": epoch,
            "status": ended if epoch == last else RUNNING,
            "val_metric": value,
            "wall_s": trial.seconds.get(epoch),
        }
        for epoch, value in trial.reports.items()
    ]


def _arm(study: FoundStudy, space: Mapping[str, Any], longest: int, trivial: float | None) -> dict[str, Any]:
    return {
        "arm_id": ARM,
        "mode": "joint",
        "metric": study.metric,
        "sign": study.sign,
        "trivial_score": trivial,
        "max_epochs": longest,
        "planned_search": study.planned,
        "space_json": json.dumps(space),
        "space_hash": stable_hash(space),
        **dict.fromkeys(("dataset_options_json", "baselines_json"), "{}"),
        **dict.fromkeys(("repeat", *(f"planned_{stage}" for stage in (DEFAULT, RANDOM, FINALISTS, RETRAIN))), 0),
        **dict.fromkeys(("task", "unit", "init", "sampler", "scheduler", "prereg_hash"), UNKNOWN),
    }


def _space(
    taken: Mapping[str, Taken], placed: list[tuple[FoundTrial, dict[str, Any]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the known ranges by optimizer and dimension: the widest over its trials, as a study may widen them."""
    space: dict[str, dict[str, dict[str, Any]]] = {}
    for trial, values in placed:
        for dimension in ("learning_rate", "batch_size"):
            drawn = trial.ranges.get(taken[dimension].name_in(trial) or "")
            if drawn is None:
                continue
            known = space.setdefault(values["optimizer"], {}).setdefault(
                dimension, {"low": drawn.low, "high": drawn.high}
            )
            known["low"], known["high"] = min(known["low"], drawn.low), max(known["high"], drawn.high)
            known["log"] = drawn.log
    return space


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold and that may be published: anything that JSON cannot hold becomes its text."""
    if isinstance(value, Mapping):
        return {str(name): HIDDEN if names_secret(str(name)) else _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    known = value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else publishable(str(value))
