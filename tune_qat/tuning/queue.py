"""What a study has done and what comes next. Knows nothing of Ray: it is asked for a trial and told how it ended."""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_qat.config import FINAL, TrialConfig
from tune_qat.study import Arm
from tune_qat.study.space import BITS
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PRETRAIN_ARM, SEARCHED_STAGES, Plan, Planner
from tune_qat.tuning.sampler import ArmSampler, random_points


@dataclass
class ArmState:
    """An arm's trials by key, and its sampler."""

    arm: Arm
    done: dict[str, tuple[Plan, Mapping[str, Any]]] = field(default_factory=dict)
    cut_off: dict[str, Plan] = field(default_factory=dict)
    live: dict[str, Plan] = field(default_factory=dict)
    sampler: ArmSampler | None = None

    proposals: dict[str, str] = field(default_factory=dict)
    """The sampler's names of live proposals, by trial key."""

    # Kept up to date, because a queue of many trials is asked for its next one as often.
    counts: Counter[str] = field(default_factory=Counter)
    """Trials that are done, by stage."""
    best: tuple[Plan, Mapping[str, Any]] | None = None
    planned_ahead: dict[str, deque[Plan]] = field(default_factory=dict)
    """Trials of the stages that no result changes, by stage, without those that were begun."""
    retrain: tuple[str, list[Plan]] = ("", [])
    """Key of the configuration that `retrain` trains again, and the trials that do."""

    def ended(self, stage: str) -> int:
        """Trials of a stage that are done."""
        return self.counts[stage]

    def begun(self, stage: str) -> int:
        """Trials of a stage that are done, running, or waiting to go on."""
        begun = [*self.cut_off.values(), *self.live.values()]
        return self.ended(stage) + sum(plan.stage == stage for plan in begun)

    def known(self, trial_key: str) -> bool:
        return trial_key in self.done or trial_key in self.cut_off or trial_key in self.live


class StudyQueue:
    """Hands out the study's trials in the order pretrain, default, random, search, retrain.

    An arm's `retrain` begins when its own earlier stages have ended; arms do not wait for one another.
    """

    def __init__(
        self,
        planner: Planner,
        record: list[dict[str, Any]],
        *,
        objective: Objective,
        init_sha256: str | None,
    ) -> None:
        """`record` holds the recorded trials; `init_sha256` is the start, where it is known before `pretrain`."""
        self.study = planner.study
        self._planner = planner
        self.objective = objective
        self._record = record
        self.init_sha256 = init_sha256
        self.pretrain: Plan | None = None
        self._pretrain_live = False
        self._arms: dict[str, ArmState] = {}
        self._failures = 0
        self.failure: str | None = None
        """Why the study cannot go on, if it cannot."""
        self.closed = False
        """No new trials: the user, a budget or a failure said so."""
        self.again: list[Plan] = []
        """Running trials that have lost their process; they go on first, also when there are no new ones."""
        if self.study.training.init == "pretrain":
            self.pretrain = planner.of_config(self.study.pretrain_config(), PRETRAIN_ARM, "pretrain", {})
        if self.study.training.init != "pretrain":
            self._open_arms()

    @property
    def arms(self) -> dict[str, ArmState]:
        """Arms by id; empty until the starting point is known."""
        return self._arms

    @property
    def live(self) -> list[Plan]:
        """Trials that are running."""
        running = [plan for state in self._arms.values() for plan in state.live.values()]
        return [*running, self.pretrain] if self._pretrain_live and self.pretrain else running

    def start_known(self, sha256: str) -> None:
        """The pretrained checkpoint is there: the arms can begin."""
        self.init_sha256 = sha256
        self._pretrain_live = False
        self._open_arms()

    def next(self) -> Plan | None:
        """The next trial to start; None if nothing can start now (see `finished`)."""
        if self.again:
            return self.again.pop(0)
        if self.closed:
            return None
        if not self._arms:
            if self._pretrain_live:
                return None
            self._pretrain_live = True
            return self.pretrain
        for stage_of in (self._next_cut_off, self._next_default, self._next_random, self._next_search):
            plan = self._first(stage_of)
            if plan:
                return plan
        return self._first(self._next_retrain)

    @property
    def finished(self) -> bool:
        """Whether nothing is running and nothing will follow."""
        return not self.live and (self.closed or (bool(self._arms) and not self.left()))

    def ended(self, plan: Plan, row: Mapping[str, Any]) -> None:
        """A trial's final row. Past the study's limit of failures, `failure` says so and no more trials start."""
        if plan.stage == "pretrain":
            self._pretrain_live = False
            if row["status"] != "completed":
                self._fail(f"The pretrained start of the study ended as {row['status']}", row)
            else:
                self.start_known(row["checkpoint_sha256"])
            return
        state = self._arms[plan.arm_id]
        state.live.pop(plan.trial_key, None)
        self._note_done(state, plan, row)
        self._tell(state, plan, row)
        self._failures += row["status"] == "error"
        if self._failures > self.study.max_failed_trials:
            limit = self.study.max_failed_trials
            self._fail(f"{self._failures} trials ended in an error, more than max_failed_trials = {limit}", row)

    def cut(self, plan: Plan) -> None:
        """A trial that was stopped before its end: the next run goes on with it."""
        if plan.stage == "pretrain":
            self._pretrain_live = False
            return
        state = self._arms[plan.arm_id]
        state.live.pop(plan.trial_key, None)
        state.cut_off[plan.trial_key] = plan

    def _tell(self, state: ArmState, plan: Plan, row: Mapping[str, Any]) -> None:
        """Tell the arm's sampler of a search trial; of one that was cut off before, as history."""
        if state.sampler is None or plan.stage != "search":
            return
        objective = None if row["status"] == "error" else self.objective.of_row(row)
        proposal = state.proposals.pop(plan.trial_key, None)
        if proposal is not None:
            state.sampler.tell(proposal, objective)
        elif objective is not None:
            state.sampler.add(plan.config.optimizer, plan.values, objective)

    def _fail(self, reason: str, row: Mapping[str, Any]) -> None:
        detail = f" {row['error_type']}: {row['error_text']}" if row.get("error_type") else ""
        self.failure = f"{reason} (trial {row['trial_key']}).{detail}"
        self.closed = True

    def left(self) -> int:
        """Trials still to start, as far as can be said now: an arm's `retrain` counts once its best is known."""
        return sum(self._left(state) for state in self._arms.values())

    def _left(self, state: ArmState) -> int:
        running = [plan.stage for plan in state.live.values()]
        planned = self.study.planned(state.arm)
        searched = sum(max(0, planned[s] - state.ended(s) - running.count(s)) for s in SEARCHED_STAGES)
        again = (plan.trial_key for plan in self._retrain_plans(state))
        return searched + sum(key not in state.done and key not in state.live for key in again)

    def remaining(self) -> int:
        """Trials of the whole plan that have not ended; 0 exactly where nothing is left."""
        arms = [self._arms.get(arm.arm_id) or ArmState(arm) for arm in self.study.arms()]
        missing = sum(
            max(0, planned - state.ended(stage))
            for state in arms
            for stage, planned in self.study.planned(state.arm).items()
        )
        return missing + (self.pretrain is not None and not self._arms)

    def best(self, state: ArmState) -> tuple[Plan, Mapping[str, Any]] | None:
        """The arm's best configuration: the best final validation metric of its completed trials before `retrain`."""
        return state.best

    def _note_done(self, state: ArmState, plan: Plan, row: Mapping[str, Any]) -> None:
        """A trial that has ended, in the arm's books."""
        state.counts[plan.stage] += plan.trial_key not in state.done
        state.done[plan.trial_key] = (plan, row)
        if plan.stage not in SEARCHED_STAGES or row["status"] != "completed" or row["val_metric"] is None:
            return
        if state.best is None or self._rank(plan, row) > self._rank(*state.best):
            state.best = (plan, row)

    def _rank(self, plan: Plan, row: Mapping[str, Any]) -> tuple[float, str]:
        # The key breaks ties, so that the choice does not depend on the order in which trials ended.
        return self.objective.sign * row["val_metric"], plan.trial_key

    def _open_arms(self) -> None:
        for arm in self.study.arms():
            self._arms[arm.arm_id] = ArmState(arm)
        for row in self._record:
            state = self._arms.get(row["arm_id"])
            if state is None:
                continue
            plan = self._planner.recorded(state.arm, row, self.init_sha256)
            if plan is None:
                continue
            if row["status"] in FINAL:
                self._note_done(state, plan, row)
            else:
                state.cut_off[plan.trial_key] = plan

    def _first(self, stage_of: Callable[[ArmState], Plan | None]) -> Plan | None:
        """The plan of the arm that has had the fewest trials, so that arms advance together."""
        for state in sorted(self._arms.values(), key=lambda state: len(state.done) + len(state.live)):
            plan = stage_of(state)
            if plan:
                state.live[plan.trial_key] = plan
                return plan
        return None

    def _next_cut_off(self, state: ArmState) -> Plan | None:
        if not state.cut_off:
            return None
        wanted = {plan.trial_key for plan in self._retrain_plans(state)}
        for key, plan in state.cut_off.items():
            # A retrain trial of what is no longer the arm's best configuration is not gone on with.
            if plan.stage != "retrain" or key in wanted:
                return state.cut_off.pop(key)
        return None

    def _next_default(self, state: ArmState) -> Plan | None:
        return self._next_ahead(state, "default", self._default_plans)

    def _next_random(self, state: ArmState) -> Plan | None:
        # Recorded ones that were drawn from other ranges and lie in today's count too: only what is missing is drawn.
        if state.begun("random") >= self.study.stages.random:
            return None
        return self._next_ahead(state, "random", self._random_plans)

    def _next_ahead(self, state: ArmState, stage: str, plans: Callable[[ArmState], Iterator[Plan]]) -> Plan | None:
        """The next trial of a stage that no result changes; all of them are worked out once."""
        if stage not in state.planned_ahead:
            state.planned_ahead[stage] = deque(plans(state))
        ahead = state.planned_ahead[stage]
        while ahead and state.known(ahead[0].trial_key):
            ahead.popleft()
        return ahead[0] if ahead else None

    def _next_search(self, state: ArmState) -> Plan | None:
        number = state.begun("search")
        if number >= self.study.stages.search or not self._have_ended(state, ("default", "random")):
            return None
        if state.sampler is None:
            state.sampler = self._make_sampler(state)
        for attempt in itertools.count():
            proposal = f"{number}-{attempt}"
            optimizer, values = state.sampler.propose(proposal)
            plan = self._planner.plan(
                state.arm,
                "search",
                optimizer,
                values,
                seed=self.study.seed_of(state.arm),
                number=number,
                source="sampler",
                init_sha256=self.init_sha256,
            )
            if not state.known(plan.trial_key):
                state.proposals[plan.trial_key] = proposal
                return plan
            # The same configuration again: answered from the record, no budget used.
            known = state.done.get(plan.trial_key)
            state.sampler.tell(proposal, self.objective.of_row(known[1]) if known else None)
        return None

    def _next_retrain(self, state: ArmState) -> Plan | None:
        return next((plan for plan in self._retrain_plans(state) if not state.known(plan.trial_key)), None)

    def _default_plans(self, state: ArmState) -> Iterator[Plan]:
        if not self.study.stages.default:
            return
        for number, optimizer in enumerate(state.arm.optimizers):
            config = self.study.default_config(state.arm, optimizer)
            yield self._planner.of_config(
                config,
                state.arm.arm_id,
                "default",
                self._planner.searched_values(config),
                number=number,
                source="default",
                init_sha256=self.init_sha256,
            )

    def _random_plans(self, state: ArmState) -> Iterator[Plan]:
        arm, seed, count = state.arm, self.study.seed_of(state.arm), self.study.stages.random
        points = {one: random_points(self._planner.dimensions(one), count, seed) for one in arm.optimizers}
        for number in range(count):
            optimizer = arm.optimizers[number % len(arm.optimizers)]
            yield self._planner.plan(
                arm,
                "random",
                optimizer,
                points[optimizer][number],
                seed=seed,
                number=number,
                source="random",
                init_sha256=self.init_sha256,
            )

    def _retrain_plans(self, state: ArmState) -> list[Plan]:
        best = self.best(state) if self._has_best(state) else None
        if best is None:
            return []
        key = best[0].trial_key
        if state.retrain[0] != key:
            state.retrain = (key, list(self._trained_again(state, best[0].config)))
        return state.retrain[1]

    def _trained_again(self, state: ArmState, config: TrialConfig) -> Iterator[Plan]:
        values = {
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            **config.optimizer_options,
            "quantizer_lr_multiplier": config.quantizer_lr_multiplier,
            BITS: state.arm.schemes.index(config.scheme),
        }
        for number, seed in enumerate(self.study.retrain_seeds(state.arm)):
            yield self._planner.plan(
                state.arm,
                "retrain",
                config.optimizer,
                values,
                seed=seed,
                number=number,
                source="plan",
                init_sha256=self.init_sha256,
            )

    def _has_best(self, state: ArmState) -> bool:
        """Whether the stages before `retrain` have ended and left a configuration to train again."""
        return self._have_ended(state, SEARCHED_STAGES) and self.best(state) is not None

    def _have_ended(self, state: ArmState, stages: Sequence[str]) -> bool:
        planned = self.study.planned(state.arm)
        return all(state.ended(stage) >= planned[stage] for stage in stages)

    def _make_sampler(self, state: ArmState) -> ArmSampler:
        """A sampler that knows the arm's earlier trials; a default outside the searched range tells it nothing."""
        history = [
            (plan.config.optimizer, plan.values, self.objective.of_row(row))
            for plan, row in state.done.values()
            if plan.stage in SEARCHED_STAGES and row["status"] != "error" and self._planner.in_range(plan)
        ]
        return ArmSampler(
            {optimizer: self._planner.dimensions(optimizer) for optimizer in state.arm.optimizers},
            sampler=self.study.search.sampler,
            seed=self.study.seed_of(state.arm),
            startup_trials=self.study.search.startup_trials,
            history=history,
        )
