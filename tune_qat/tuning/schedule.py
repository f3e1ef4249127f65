"""One ASHA per arm: stops trials of the search stage, never compares one arm with another."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_qat.study import Arm, Study
from tune_qat.tuning.asha import Asha
from tune_qat.tuning.search import OBJECTIVE

WARM_UP = "warm_up"
"""Stage of what only keeps a process until all have started; no trial, and not in the record."""
_NO_CONTROLLER: Any = None
"""ASHA does not look at it."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What ASHA decided about a trial at a rung, and on which values."""

    trial_key: str
    arm_id: str
    rung: int
    epoch: int
    value: float
    cutoff: float | None
    n_in_rung: int
    """Values in the rung before this one."""
    action: str


def cutoff(values: list[float], reduction_factor: float) -> float | None:
    """The value that a trial must reach to go on: the upper 1/eta quantile of those before it (ASHA, stopping variant).

    None for the first trial of a rung, which always goes on.
    """
    return float(np.percentile(values, (1 - 1 / reduction_factor) * 100)) if values else None


class StudyScheduler(FIFOScheduler):
    """Delegates the search stage to the ASHA of the trial's arm; every other stage runs to its end."""

    def __init__(
        self,
        study: Study,
        arms: Iterable[Arm],
        history: Mapping[str, list[tuple[int, float]]],
        on_decision: Callable[[Decision], None],
        warm: Callable[[], bool] = lambda: True,
    ) -> None:
        """`history` holds (epoch, objective) of recorded epochs by trial key; `warm` says when warm-ups may end."""
        super().__init__()
        self._rungs = study.rungs
        self._factor = study.asha.reduction_factor
        self._history = history
        self._on_decision = on_decision
        self._warm = warm
        self._values: dict[tuple[str, int], list[float]] = {}
        self._decided: set[tuple[str, int]] = set()
        self._asha = {arm.arm_id: Asha(self._rungs, self._factor) for arm in arms} if study.asha.enabled else {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        # Metric and mode are given to each ASHA when it is made.
        return True

    def refill(self, arm_id: str, trial_key: str) -> None:
        """Put a recorded trial's values into its arm's rungs."""
        # ASHA asks a trial for nothing but its name.
        trial: Any = SimpleNamespace(trial_id=trial_key)
        if arm_id in self._asha:
            self._asha[arm_id].on_trial_add(_NO_CONTROLLER, trial)
            self._replay(arm_id, trial, trial_key)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        asha = self._asha_of(trial)
        if asha is not None:
            asha.on_trial_add(tune_controller, trial)
            self._replay(trial.config["arm_id"], trial, trial.config["trial_key"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        asha = self._asha_of(trial)
        if asha is None:
            warmed = trial.config["stage"] == WARM_UP and self._warm()
            return TrialScheduler.STOP if warmed else TrialScheduler.CONTINUE
        action: str = asha.on_trial_result(tune_controller, trial, result)
        if result.get("epoch") in self._rungs:
            decision = self._decide(trial.config, result["epoch"], result[OBJECTIVE])
            stopped = action == TrialScheduler.STOP
            self._on_decision(Decision(**decision, action="stop" if stopped else "continue"))
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        asha = self._asha_of(trial)
        if asha is not None:
            asha.on_trial_complete(tune_controller, trial, result)
            self._note(trial.config, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        asha = self._asha_of(trial)
        if asha is not None:
            asha.on_trial_remove(tune_controller, trial)

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its scheduler for a restore that is not used here: rungs are refilled from the record.
        return {}

    def debug_string(self) -> str:
        return f"ASHA for each of {len(self._asha)} arms"

    def _asha_of(self, trial: Any) -> Asha | None:
        return self._asha.get(trial.config["arm_id"]) if trial.config["stage"] == "search" else None

    def _replay(self, arm_id: str, trial: Any, trial_key: str) -> None:
        for epoch, objective in self._history.get(trial_key, ()):
            if epoch in self._rungs:
                self._values.setdefault((arm_id, epoch), []).append(objective)
                self._asha[arm_id].on_trial_result(_NO_CONTROLLER, trial, {"epoch": epoch, OBJECTIVE: objective})

    def _note(self, config: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """The value of a trial that ended by itself at a rung, diverged: it is in the rung, but nothing was decided."""
        epoch = result.get("epoch")
        if epoch in self._rungs and (config["trial_key"], epoch) not in self._decided:
            self._values.setdefault((config["arm_id"], epoch), []).append(result[OBJECTIVE])

    def _decide(self, config: Mapping[str, Any], epoch: int, value: float) -> dict[str, Any]:
        self._decided.add((config["trial_key"], epoch))
        before = self._values.setdefault((config["arm_id"], epoch), [])
        decision = {
            "trial_key": config["trial_key"],
            "arm_id": config["arm_id"],
            "rung": epoch,
            "epoch": epoch,
            "value": value,
            "cutoff": cutoff(before, self._factor),
            "n_in_rung": len(before),
        }
        before.append(value)
        return decision


def finite_objective(metric: float | None, sign: int, worst_metric: float) -> float:
    """What samplers and ASHA are told: the metric with its sign, or the worst one where there is none."""
    value = metric if metric is not None and math.isfinite(metric) else worst_metric
    return sign * value
