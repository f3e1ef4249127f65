"""What a study has done and what comes next. Knows nothing of Ray: it is asked for a trial and told how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tune_qat.config.statuses import ERROR, PRETRAIN
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PRETRAIN_ARM, Plan, Planner


class StudyQueue:
    """Hands out the study's trials in the order pretrain, default, random, search, retrain.

    An arm's `retrain` begins when its own earlier stages have ended; arms do not wait for one another.
    """

    def __init__(self, planner: Planner, record: list[dict[str, Any]], *, objective: Objective) -> None:
        """Begin with the recorded trials; the start of `planner` is not known yet where it is pretrained."""
        self.study = planner.study
        self.planner = planner
        self.objective = objective
        self._record = record
        self.pretrain: Plan | None = None
        self._pretrain_live = False
        self.arms: dict[str, ArmState] = {}
        """Arms by id; empty until the starting point is known."""
        self._failures = 0
        self.failure: str | None = None
        """Why the study cannot go on, if it cannot."""
        self.closed = False
        """No new trials: the user, a budget or a failure said so."""
        self.again: list[Plan] = []
        """Running trials that have lost their process; they go on first, also when there are no new ones."""
        if self.study.training.init == "pretrain":
            self.pretrain = planner.of_config(self.study.pretrain_config(), PRETRAIN_ARM, PRETRAIN, {})
        else:
            self._open_arms()

    @property
    def live(self) -> list[Plan]:
        """Trials that are running."""
        running = [plan for state in self.arms.values() for plan in state.live.values()]
        return [*running, self.pretrain] if self._pretrain_live and self.pretrain else running

    @property
    def finished(self) -> bool:
        """Whether nothing is running and nothing will follow."""
        return not self.live and (self.closed or (bool(self.arms) and not self.left()))

    def left(self) -> int:
        """Count the trials still to start, as far as can be said now: `retrain` counts once an arm's best is known."""
        return sum(state.left() for state in self.arms.values())

    def remaining(self) -> int:
        """Count the trials of the whole plan that have not ended; 0 exactly where nothing is left."""
        if self.arms:
            return sum(state.remaining() for state in self.arms.values())
        return sum(trials for _, trials, _ in self.study.trial_epochs())

    def start_known(self, sha256: str) -> None:
        """Open the arms: the pretrained checkpoint is there."""
        self.planner = replace(self.planner, init_sha256=sha256)
        self._pretrain_live = False
        self._open_arms()

    def next(self) -> Plan | None:
        """Give the next trial to start; None if nothing can start now (see `finished`)."""
        if self.again:
            return self.again.pop(0)
        if self.closed:
            return None
        if not self.arms:
            if self._pretrain_live:
                return None
            self._pretrain_live = True
            return self.pretrain
        for next_of in (
            ArmState.next_cut_off,
            ArmState.next_default,
            ArmState.next_random,
            ArmState.next_search,
            ArmState.next_retrain,
        ):
            plan = self._first(next_of)
            if plan:
                return plan
        return None

    def ended(self, plan: Plan, row: Mapping[str, Any]) -> None:
        """Take a trial's final row. Past the study's limit of failures, `failure` says so and no more trials start."""
        if plan.stage == "pretrain":
            self._pretrain_live = False
            if row["status"] != "completed":
                self._fail(f"The pretrained start of the study ended as {row['status']}", row)
            else:
                self.start_known(row["checkpoint_sha256"])
            return
        self.arms[plan.arm_id].end(plan, row)
        self._failures += row["status"] == ERROR
        if self._failures > self.study.max_failed_trials:
            limit = self.study.max_failed_trials
            self._fail(f"{self._failures} trials ended in an error, more than max_failed_trials = {limit}", row)

    def cut(self, plan: Plan) -> None:
        """Put aside a trial that was stopped before its end: the next run goes on with it."""
        if plan.stage == "pretrain":
            self._pretrain_live = False
        else:
            self.arms[plan.arm_id].cut(plan)

    def _fail(self, reason: str, row: Mapping[str, Any]) -> None:
        detail = f" {row['error_type']}: {row['error_text']}" if row.get("error_type") else ""
        self.failure = f"{reason} (trial {row['trial_key']}).{detail}"
        self.closed = True

    def _open_arms(self) -> None:
        for arm in self.study.arms():
            self.arms[arm.arm_id] = ArmState(arm, self.planner, self.objective)
        for row in self._record:
            state = self.arms.get(row["arm_id"])
            if state is not None:
                state.take(row)

    def _first(self, next_of: Callable[[ArmState], Plan | None]) -> Plan | None:
        """Start a trial of the arm that has had the fewest, so that arms advance together."""
        for state in sorted(self.arms.values(), key=lambda state: len(state.done) + len(state.live)):
            plan = next_of(state)
            if plan:
                state.live[plan.trial_key] = plan
                return plan
        return None
