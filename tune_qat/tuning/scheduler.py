"""Scheduler with an ASHA for each arm: it stops trials of the search stage, and never compares two arms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_qat.config.statuses import SEARCH
from tune_qat.study import Study
from tune_qat.tuning.asha import Asha, Decision
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import WARM_UP


class StudyScheduler(FIFOScheduler):
    """Scheduler that asks the arm's ASHA about trials of the search stage; other trials run to their end."""

    def __init__(
        self,
        study: Study,
        history: Mapping[str, list[tuple[int, float]]],
        on_decision: Callable[[Decision], None],
        warm: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set up ASHA for every arm, if the study has it.

        `history` holds (epoch, objective) of recorded epochs by trial key, and may grow: it is read whenever a trial is
        added, also one that has lost its process. `warm` tells whether warm-ups may end.
        """
        super().__init__()
        self._history, self._on_decision, self._warm = history, on_decision, warm
        factor = study.asha.reduction_factor
        judged = study.arms() if study.asha.enabled else ()
        self.asha = {arm.arm_id: Asha(arm.arm_id, study.rungs, factor) for arm in judged}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        # Ray's default would set a metric; ASHA always reads the objective.
        return True

    def refill(self, arm_id: str, trial_key: str) -> None:
        """Put a recorded trial's values into its arm's rungs."""
        if arm_id in self.asha:
            for epoch, objective in self._history.get(trial_key, ()):
                self.asha[arm_id].put(trial_key, epoch, objective)

    def judge(self, arm_id: str, trial_key: str, values: Sequence[tuple[int, float]]) -> bool:
        """Put (epoch, objective) of a search trial into its arm's rungs, with a decision at each; tell if it stops."""
        self.refill(arm_id, trial_key)
        for epoch, objective in values if arm_id in self.asha else ():
            decision = self.asha[arm_id].put(trial_key, epoch, objective)
            if decision is not None:
                self._on_decision(decision)
                if decision.stops:
                    return True
        return False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if self._asha_of(trial) is not None:
            self.refill(trial.config["arm_id"], trial.config["trial_key"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        asha = self._asha_of(trial)
        if asha is None:
            warmed = trial.config["stage"] == WARM_UP and self._warm()
            return TrialScheduler.STOP if warmed else TrialScheduler.CONTINUE
        # A failure has no epoch.
        decision = asha.put(trial.config["trial_key"], result.get("epoch", 0), result[OBJECTIVE])
        if decision is None:
            return TrialScheduler.CONTINUE
        self._on_decision(decision)
        return TrialScheduler.STOP if decision.stops else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        asha = self._asha_of(trial)
        if asha is not None and "epoch" in result:
            # The value of a trial that ended by itself at a rung (diverged) counts there without a decision.
            asha.put(trial.config["trial_key"], result["epoch"], result[OBJECTIVE])

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its scheduler for a restore, which is not used: rungs are refilled from the record.
        return {}

    def debug_string(self) -> str:
        return f"ASHA for each of {len(self.asha)} arms"

    def _asha_of(self, trial: Any) -> Asha | None:
        return self.asha.get(trial.config["arm_id"]) if trial.config["stage"] == SEARCH else None
