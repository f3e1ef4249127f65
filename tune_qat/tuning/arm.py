"""One arm of a running study: its trials, the stages that they belong to, and its sampler."""

import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tune_qat.config.statuses import DEFAULT, FINAL, FINALISTS, RANDOM, RETRAIN, SEARCH, SEARCHED_STAGES
from tune_qat.study import Arm
from tune_qat.tuning.arm_choices import PlansAgain, sampler_of, selection_of
from tune_qat.tuning.finalists import Done
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import METRIC_ALONE, Objectives
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.points import NewPart, Point, Spaces, others, random_sequence
from tune_qat.tuning.sampler import ArmSampler
from tune_qat.tuning.sobol import SobolDesign

ATTEMPTS = 20
"""Proposals of known points after which a sampler is not asked again."""


class ArmState:
    """One arm's trials by key, and its sampler. Each `next_` method returns a trial of its stage that can start now."""

    def __init__(
        self, arm: Arm, planner: Planner, objective: Objective, earlier: Spaces, objectives: Objectives = METRIC_ALONE
    ) -> None:
        """Plan the trials of an arm; the first new ones lie where its space was not in `earlier` ranges.

        Of several `objectives`, `objective` is the metric.
        """
        self.arm = arm
        self.done: dict[str, Done] = {}
        self.cut_off: dict[str, PlannedTrial] = {}
        self.live: dict[str, PlannedTrial] = {}
        self.sampler: ArmSampler | None = None
        self.proposals: dict[str, str] = {}
        """Sampler's names of live proposals, by trial key."""
        self._study, self._planner, self.objective = planner.study, planner, objective
        self._planned, self._design_seed = self._study.planned(arm), self._study.design_seed(arm)
        self._trial_seed, level = self._study.trial_seed(arm), arm.step_optimizer
        self._spaces = {optimizer: planner.dimensions(optimizer, arm.scheme, level) for optimizer in arm.optimizers}
        self._new_part = NewPart(self._spaces, earlier)
        self._design = SobolDesign(self._spaces, self._design_seed) if self._study.stages.design == "sobol" else None
        self._objectives = objectives
        self._selection = selection_of(self._study, arm, objective, objectives)
        # Kept up to date and not computed again: an arm is asked for its next trial once per trial.
        self._counts: Counter[str] = Counter()
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        """Numbers of the trials of each stage that are done or cut off."""
        self._ahead = {
            DEFAULT: (deque[PlannedTrial](), self._default_plans()),
            RANDOM: (deque[PlannedTrial](), self._random_plans()),
        }
        self._again = PlansAgain(arm, planner)

    @property
    def best(self) -> Done | None:
        """Trial before `finalists` whose configuration is chosen: the best completed one, or the best finalist.

        With several objectives the one of the front that has the best metric.
        """
        return self._selection.best

    @property
    def choices(self) -> list[Done]:
        """Trials whose configurations are trained again: the best one, or points of the front."""
        return self._selection.chosen

    @property
    def planned_retrain(self) -> int:
        """Number of retrain trials; a front may have fewer points than are planned."""
        return len(self.retrain_plans()) if self._objectives.several and self.chosen else self._planned[RETRAIN]

    def planned(self, stage: str) -> int:
        return self._planned[stage]

    def ended(self, stage: str) -> int:
        return self._counts[stage]

    def begun(self, stage: str) -> int:
        """Count the trials of a stage that are done, running, or waiting to go on."""
        return self.ended(stage) + sum(plan.stage == stage for plan in (*self.cut_off.values(), *self.live.values()))

    def _begun_plans(self) -> list[PlannedTrial]:
        return [*self.cut_off.values(), *self.live.values(), *(plan for plan, _ in self.done.values())]

    def known(self, trial_key: str) -> bool:
        return trial_key in self.done or trial_key in self.cut_off or trial_key in self.live

    def left(self) -> int:
        """Count the trials still to start; those of `finalists` and `retrain` once it is known which these are."""
        running = [plan.stage for plan in self.live.values()]
        searched = sum(max(0, self._planned[s] - self.ended(s) - running.count(s)) for s in SEARCHED_STAGES)
        again = (plan.trial_key for plan in [*self._finalist_plans(), *self.retrain_plans()])
        return searched + sum(key not in self.done and key not in self.live for key in again)

    def remaining(self) -> int:
        """Count the planned trials that have not ended, those of `finalists` and `retrain` included."""
        searched = sum(max(0, self._planned[stage] - self.ended(stage)) for stage in SEARCHED_STAGES)
        if not self._have_ended(SEARCHED_STAGES):
            return searched + self._planned[FINALISTS] + self._planned[RETRAIN]
        # An arm without a completed trial has nothing to train again, and one with few of them has few finalists.
        waiting = sum(plan.trial_key not in self.done for plan in self._finalist_plans())
        if waiting:
            return waiting + self._planned[RETRAIN]
        return sum(plan.trial_key not in self.done for plan in self.retrain_plans())

    def take(self, row: Mapping[str, Any]) -> None:
        """Add a recorded trial if it fits today's study: to `done`, or to `cut_off` if it has not ended."""
        plan = self._planner.recorded(self.arm, row)
        if plan is not None:
            self._numbers[plan.stage].add(plan.number)
        if plan is not None and row["status"] in FINAL:
            self._note(plan, row)
        elif plan is not None:
            self.cut_off[plan.trial_key] = plan

    def end(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Add a trial that has ended to `done`, and tell the sampler its result."""
        self.live.pop(plan.trial_key, None)
        self._numbers[plan.stage].add(plan.number)
        self._note(plan, row)
        self._tell(plan, row)

    def cut(self, plan: PlannedTrial) -> None:
        """Move a trial that was interrupted from `live` to `cut_off`."""
        self.live.pop(plan.trial_key, None)
        self._numbers[plan.stage].add(plan.number)
        self.cut_off[plan.trial_key] = plan

    def ahead(self) -> list[PlannedTrial]:
        """Plan the trials that depend on no result and have not begun; of a wider range, where to begin does."""
        missing = 0 if self._new_part.share else max(0, self._planned[RANDOM] - self.begun(RANDOM))
        return [*self._unknown(DEFAULT), *itertools.islice(self._unknown(RANDOM), missing)]

    def next_cut_off(self) -> PlannedTrial | None:
        if not self.cut_off:
            return None
        wanted = {plan.trial_key for plan in [*self._finalist_plans(), *self.retrain_plans()]}
        for key, plan in self.cut_off.items():
            # A trial of a configuration that is no longer a finalist, or no longer the chosen one, is not resumed.
            if plan.stage not in (FINALISTS, RETRAIN) or key in wanted:
                return self.cut_off.pop(key)
        return None

    def next_default(self) -> PlannedTrial | None:
        return next(self._unknown(DEFAULT), None)

    def next_random(self) -> PlannedTrial | None:
        # Recorded trials drawn from other ranges count as well if they lie in today's: only missing ones are drawn.
        if self.begun(RANDOM) >= self._planned[RANDOM]:
            return None
        plan = self._in_new_part(RANDOM) or next(self._unknown(RANDOM), None)
        return plan and self._numbered(plan)

    def _numbered(self, plan: PlannedTrial) -> PlannedTrial:
        """Return the trial with a number that no other of its stage has: in other ranges, a sequence begins anew.

        Curves of the tuning budget take the first points of an arm by number.
        """
        live = {one.number for one in self.live.values() if one.stage == plan.stage}
        taken = self._numbers[plan.stage]
        if plan.number not in taken and plan.number not in live:
            return plan
        return replace(plan, number=1 + max([*taken, *live]))

    def next_search(self) -> PlannedTrial | None:
        if self.begun(SEARCH) >= self._planned[SEARCH] or not self._have_ended((DEFAULT, RANDOM)):
            return None
        if self.sampler is None:
            self.sampler = sampler_of(self, self._planner, self._spaces, self._objectives)
        return self._in_new_part(SEARCH) or self._proposed(self.sampler) or self._any_left()

    def _in_new_part(self, stage: str) -> PlannedTrial | None:
        """Plan a trial in the new part of ranges, while that has fewer of the stage's trials than is its share."""
        if not self._new_part.share:
            return None
        plans = [plan for plan in self._begun_plans() if plan.stage == stage]
        there = sum(self._new_part.holds(plan.config.optimizer, plan.values) for plan in plans)
        if there >= math.ceil(round(self._new_part.share * self._planned[stage], 6)):
            return None
        design = self._design.points if self._design and stage == RANDOM else None
        return self._first(self._drawn(stage, self._new_part.points(self.begun(stage), self._design_seed, design)))

    def _proposed(self, sampler: ArmSampler) -> PlannedTrial | None:
        """Plan what the sampler proposes; None if it repeats known points, although it knows their results."""
        number = self.begun(SEARCH)
        for attempt in range(ATTEMPTS):
            proposal = f"{number}-{attempt}"
            optimizer, values = sampler.propose(proposal)
            plan = self._plan(SEARCH, optimizer, values, number, "sampler")
            if not self.known(plan.trial_key):
                if plan.values == values:
                    self.proposals[plan.trial_key] = proposal
                else:  # brought within a budget: a point of its own, which the sampler is told once it has ended
                    sampler.tell(proposal, None)
                return plan
            # It has the trial's result already, or will get it.
            sampler.tell(proposal, None)
        return None

    def _any_left(self) -> PlannedTrial | None:
        number = self.begun(SEARCH)
        return self._first(self._drawn(SEARCH, others(self._spaces, [self._design_seed, number])))

    def next_finalist(self) -> PlannedTrial | None:
        return self._first(iter(self._finalist_plans()))

    def next_retrain(self) -> PlannedTrial | None:
        return self._first(iter(self.retrain_plans()))

    def _note(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        self._counts[plan.stage] += plan.trial_key not in self.done
        self.done[plan.trial_key] = (plan, row)
        self._selection.note(plan, row)

    def _tell(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Tell the sampler the result of a search trial; one that an earlier run proposed is added as history."""
        if self.sampler is None or plan.stage != SEARCH:
            return
        told = self._objectives.told(plan, row, self.objective)
        proposal = self.proposals.pop(plan.trial_key, None)
        if proposal is not None:
            self.sampler.tell(proposal, told)
        elif told is not None:
            self.sampler.add(plan.config.optimizer, plan.values, told)

    def _have_ended(self, stages: Sequence[str]) -> bool:
        return all(self.ended(stage) >= self._planned[stage] for stage in stages)

    def _unknown(self, stage: str) -> Iterator[PlannedTrial]:
        """Yield the trials that have not begun of a stage that depends on no result; each is planned once."""
        seen, more = self._ahead[stage]
        while seen and self.known(seen[0].trial_key):
            seen.popleft()
        yield from (plan for plan in [*seen] if not self.known(plan.trial_key))
        for plan in more:
            seen.append(plan)
            if not self.known(plan.trial_key):
                yield plan

    def _first(self, plans: Iterator[PlannedTrial]) -> PlannedTrial | None:
        """Return the first of these trials that has not begun; None if there is none."""
        return next((plan for plan in plans if not self.known(plan.trial_key)), None)

    def _default_plans(self) -> Iterator[PlannedTrial]:
        optimizers = self.arm.optimizers if self._planned[DEFAULT] else ()
        for number, optimizer in enumerate(optimizers):
            config = self._study.default_config(self.arm, optimizer)
            values = self._planner.searched_values(config)
            yield self._planner.of_config(config, self.arm.arm_id, DEFAULT, values, number=number, source="default")

    def _random_plans(self) -> Iterator[PlannedTrial]:
        drawn = random_sequence(self._spaces, self._study.stages.random, self._design_seed)
        for number, (optimizer, values) in enumerate(self._design.sequence() if self._design else drawn):
            yield self._plan(RANDOM, optimizer, values, number, self._source(RANDOM))

    def _drawn(self, stage: str, points: Iterator[Point]) -> Iterator[PlannedTrial]:
        """Plan points that no sampler proposed as the stage's next trial."""
        number = self.begun(stage)
        source = self._source(stage)
        return (self._plan(stage, optimizer, values, number, source) for optimizer, values in points)

    def _source(self, stage: str) -> str:
        return "sobol" if self._design and stage == RANDOM else "random"

    def _plan(self, stage: str, optimizer: str, values: Mapping[str, float], number: int, source: str) -> PlannedTrial:
        return self._planner.plan(
            self.arm, stage, optimizer, values, seed=self._trial_seed, number=number, source=source
        )

    def _finalist_plans(self) -> list[PlannedTrial]:
        """Plan each finalist with every seed of its own; nothing before the searched stages have ended."""
        if not self._have_ended(SEARCHED_STAGES):
            return []
        return self._again.of(FINALISTS, self._selection.finalists, self._study.finalist_seeds(self.arm))

    @property
    def chosen(self) -> bool:
        """Whether all has ended that the choice of a configuration depends on."""
        return self._have_ended(SEARCHED_STAGES) and all(plan.trial_key in self.done for plan in self._finalist_plans())

    def retrain_plans(self) -> list[PlannedTrial]:
        """Plan the choices with every fresh seed; nothing before the earlier stages have ended."""
        chosen = self.choices if self.chosen else []
        return self._again.of(RETRAIN, chosen, self._study.retrain_seeds(self.arm))
