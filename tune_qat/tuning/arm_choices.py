"""Choices of an arm from its ended trials: the sampler that has learned from them, and what is trained again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from tune_qat.config.statuses import SEARCHED_STAGES, STAGES
from tune_qat.study import Arm, Study
from tune_qat.tuning.finalists import Done, Selection
from tune_qat.tuning.front import Front
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.points import Spaces
from tune_qat.tuning.sampler import ArmSampler


class Ended(Protocol):
    """Arm with ended trials."""

    arm: Arm
    objective: Objective
    done: dict[str, Done]


class Choice(Protocol):
    """Choice among ended trials, which it is told of in any order."""

    def note(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Add a trial that has ended, of whichever stage."""

    @property
    def finalists(self) -> list[Done]:
        """Trials whose configurations are trained again before one is chosen."""

    @property
    def chosen(self) -> list[Done]:
        """Trials whose configurations get the retrain seeds."""

    @property
    def best(self) -> Done | None:
        """The one of these that stands for the arm where one is named."""


def selection_of(study: Study, arm: Arm, objective: Objective, objectives: Objectives) -> Choice:
    """Return the choice of an arm: a front of several objectives, else the best configuration."""
    if objectives.several:
        return Front(objective, objectives, count=study.most_chosen(arm))
    return Selection(objective, count=study.selection.finalists, seeds=study.finalist_seeds(arm))


def sampler_of(state: Ended, planner: Planner, spaces: Spaces, objectives: Objectives) -> ArmSampler:
    """Make a sampler that knows the arm's earlier trials, without those outside the searched ranges."""
    # The key, where records of earlier versions have a number twice: samplers depend on the order.
    known = sorted(
        state.done.values(), key=lambda done: (STAGES.index(done[0].stage), done[0].number, done[0].trial_key)
    )
    history = [
        (plan.config.optimizer, plan.values, told)
        for plan, row in known
        if plan.stage in SEARCHED_STAGES and planner.in_range(plan)
        if (told := objectives.told(plan, row, state.objective)) is not None
    ]
    search = planner.study.search
    return ArmSampler(
        spaces,
        sampler=search.sampler,
        seed=planner.study.design_seed(state.arm),
        startup_trials=search.startup_trials,
        history=history,
        directions=objectives.directions,
    )


class PlansAgain:
    """Plans of an arm's configurations with further seeds; made once, until the configurations are others."""

    def __init__(self, arm: Arm, planner: Planner) -> None:
        self._arm, self._planner = arm, planner
        self._made: dict[str, tuple[list[str], list[PlannedTrial]]] = {}

    def of(self, stage: str, chosen: Sequence[Done], seeds: Sequence[int]) -> list[PlannedTrial]:
        """Plan the configurations of these trials with each seed."""
        keys = [plan.trial_key for plan, _ in chosen]
        if self._made.get(stage, ([], []))[0] != keys:
            both = [(seed, self._planner.study.init_seed(self._arm, seed)) for seed in seeds]
            runs = [
                (plan, replace(plan.config, seed=seed, init_seed=init)) for plan, _ in chosen for seed, init in both
            ]
            of_config = partial(self._planner.of_config, arm_id=self._arm.arm_id, stage=stage)
            plans = [of_config(config, values=plan.values, number=at) for at, (plan, config) in enumerate(runs)]
            self._made[stage] = keys, plans
        return self._made[stage][1] if keys else []
