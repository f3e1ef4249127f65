"""Models of a running study that are calibrated and not trained, of what its arms have chosen (stage `calibrated`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tune_qat.config.statuses import CALIBRATED, FINAL
from tune_qat.study import Study
from tune_qat.study.calibrated import calibrated_config, most_calibrated
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.plan import CALIBRATED_ARM, Keys, PlannedTrial


class Baselines:
    """Trials of the stage by key: planned once each, whichever arms share them, as soon as an arm has chosen."""

    def __init__(self, study: Study, work: Keys, record: Iterable[Mapping[str, Any]]) -> None:
        """Start from the ended ones of `record`; a study without the stage has none."""
        self._study, self._work = study, work
        wanted = (row for row in record if row["stage"] == CALIBRATED) if study.stages.calibrated else ()
        self._ended = {row["trial_key"]: row for row in wanted if row["status"] in FINAL}
        self.live: dict[str, PlannedTrial] = {}
        self._of_arm: dict[str, tuple[list[str], list[PlannedTrial]]] = {}

    def next(self, arms: Iterable[ArmState]) -> PlannedTrial | None:
        """Return the next one that can start now; None if there is none."""
        plan = next((plan for key, plan in self._missing(arms).items() if key not in self.live), None)
        if plan is not None:
            self.live[plan.trial_key] = plan
        return plan

    def end(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        self.live.pop(plan.trial_key, None)
        self._ended[plan.trial_key] = row

    def cut(self, plan: PlannedTrial) -> None:
        """Put aside one that was interrupted, which is not done: it is planned again."""
        self.live.pop(plan.trial_key, None)

    def left(self, arms: Iterable[ArmState]) -> int:
        """Count those that are still to start, of the arms that have chosen."""
        return sum(key not in self.live for key in self._missing(arms))

    def remaining(self, arms: Iterable[ArmState], *, all_chosen: bool) -> int:
        """Count those that have not ended: what there is at most, until all arms have chosen."""
        states = [*arms]
        if all_chosen:
            return len(self._missing(states))
        return max(len(self._missing(states)), most_calibrated(self._study) - len(self.done(states)))

    def done(self, arms: Iterable[ArmState]) -> list[Mapping[str, Any]]:
        """Return the rows of the ended ones that fit what arms have chosen."""
        return [self._ended[key] for key in self._wanted(arms) if key in self._ended]

    def _missing(self, arms: Iterable[ArmState]) -> dict[str, PlannedTrial]:
        return {key: plan for key, plan in self._wanted(arms).items() if key not in self._ended}

    def _wanted(self, arms: Iterable[ArmState]) -> dict[str, PlannedTrial]:
        if not self._study.stages.calibrated:
            return {}
        searched = (state for state in arms if state.arm.control is None)
        return {plan.trial_key: plan for state in searched for plan in self._plans(state)}

    def _plans(self, state: ArmState) -> list[PlannedTrial]:
        """Plan those of an arm beside its retrain trials; planned once, until it chooses something else."""
        retrained = state.retrain_plans()
        keys, arm_id = [plan.trial_key for plan in retrained], state.arm.arm_id
        if self._of_arm.get(arm_id, ([], []))[0] != keys:
            self._of_arm[arm_id] = keys, [*self._of(retrained)]
        return self._of_arm[arm_id][1] if keys else []

    def _of(self, retrained: Iterable[PlannedTrial]) -> Iterator[PlannedTrial]:
        for plan in retrained:
            if plan.config.scheme.is_float and plan.number:
                continue  # nothing is calibrated: one for all seeds
            config = calibrated_config(self._study, plan.config)
            key = self._work.key(config, CALIBRATED, plan.init_checkpoint_sha256)
            yield replace(plan, trial_key=key, arm_id=CALIBRATED_ARM, stage=CALIBRATED, config=config, values={})
