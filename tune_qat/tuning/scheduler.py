"""Scheduler with an ASHA for each arm: it stops trials of the search stage, and never compares two arms."""

from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_qat.config.statuses import SEARCH
from tune_qat.study import Study
from tune_qat.tuning.asha import Asha, Decision
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import WARM_UP

Values = Iterable[tuple[int, float]]
"""Epochs of a trial in their order, each with its objective."""


class StudyScheduler(FIFOScheduler):
    """Scheduler that asks the arm's ASHA about trials of the search stage; other trials run to their end."""

    def __init__(
        self,
        study: Study,
        on_decision: Callable[[Decision], None],
        warm: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set up ASHA for every arm, if the study has it; `warm` tells whether warm-ups may end."""
        super().__init__()
        self._on_decision, self._warm = on_decision, warm
        factor = study.asha.reduction_factor
        judged = study.arms() if study.stops_early else ()
        self.asha = {arm.arm_id: Asha(arm.arm_id, study.rungs, factor) for arm in judged}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        # Ray's default would set a metric; ASHA always reads the objective.
        return True

    def refill(self, arm_id: str, trial_key: str, values: Values) -> None:
        """Put values of a search trial into its arm's rungs, without a decision."""
        if arm_id in self.asha:
            for epoch, objective in values:
                self.asha[arm_id].put(trial_key, epoch, objective)

    def judge(self, arm_id: str, trial_key: str, values: Values) -> bool:
        """Put values of a search trial into its arm's rungs, with a decision at each; return whether it stops.

        A rung that holds the trial already does not decide again, and what follows a stop is left out.
        """
        if arm_id not in self.asha:
            return False
        for epoch, objective in values:
            decision = self.asha[arm_id].put(trial_key, epoch, objective)
            if decision is not None:
                self._on_decision(decision)
                if decision.stops:
                    return True
        return False

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if trial.config["stage"] == SEARCH:
            # A failure has no epoch.
            values = [(result.get("epoch", 0), result[OBJECTIVE])]
            stops = self.judge(trial.config["arm_id"], trial.config["trial_key"], values)
        else:
            stops = trial.config["stage"] == WARM_UP and self._warm()
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if trial.config["stage"] == SEARCH and "epoch" in result:
            # The value of a trial that ended by itself at a rung (diverged) counts there without a decision.
            self.refill(trial.config["arm_id"], trial.config["trial_key"], [(result["epoch"], result[OBJECTIVE])])

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its scheduler for a restore, which is not used: rungs are refilled from the record.
        return {}

    def debug_string(self) -> str:
        return f"ASHA for each of {len(self.asha)} arms"
