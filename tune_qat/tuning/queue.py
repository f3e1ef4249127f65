"""Queue of a study's trials: it is asked for the next one, and told how each ended. It knows nothing of Ray."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tune_qat.config.statuses import COMPLETED, ERROR, PRETRAIN
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PRETRAIN_ARM, PlannedTrial, Planner
from tune_qat.tuning.points import Spaces


class StudyQueue:
    """The study's trials in the order pretrain, default, random, search, retrain.

    The stages of one arm follow each other; an arm does not wait for the other arms, unless `may_search` has it wait.
    """

    def __init__(
        self,
        planner: Planner,
        record: list[dict[str, Any]],
        *,
        objective: Objective,
        earlier: Mapping[str, Spaces] | None = None,
    ) -> None:
        """Start from the trials of `record`; the hash of a pretrained start is not in `planner` yet.

        `earlier` holds the ranges that an arm's trials were searched in before, by arm, where they were others.
        """
        self.study, self.planner, self.objective = planner.study, planner, objective
        self._record, self._earlier = record, earlier or {}
        self.pretrain: PlannedTrial | None = None
        self.start: Mapping[str, Any] | None = None
        """Row of the completed start of all arms, once its checkpoint is known to be whole."""
        self._pretrain_live = False
        self.arms: dict[str, ArmState] = {}
        """Arms by id; empty until the starting weights are known."""
        self._failures = 0
        self.failure: str | None = None
        """Reason why the study cannot go on, if there is one."""
        self.closed = False
        """Whether no new trials start, because of the user, a budget or a failure."""
        self.again: list[PlannedTrial] = []
        """Trials that have lost their process; they go on before any other, also in a closed queue."""
        self.may_search: Callable[[], bool] = lambda: True
        """Tells whether trials of the search may start; asked once nothing of the stages before is left to start."""
        if self.study.training.init == "pretrain":
            self.pretrain = planner.of_config(self.study.pretrain_config(), PRETRAIN_ARM, PRETRAIN, {})
        else:
            self._open_arms()

    @property
    def live(self) -> list[PlannedTrial]:
        running = [plan for state in self.arms.values() for plan in state.live.values()]
        return [*running, self.pretrain] if self._pretrain_live and self.pretrain else running

    @property
    def finished(self) -> bool:
        """Whether nothing is running and nothing will follow."""
        return not self.live and (self.closed or (bool(self.arms) and not self.left()))

    def left(self) -> int:
        return sum(state.left() for state in self.arms.values())

    def remaining(self) -> int:
        """Count the planned trials that have not ended."""
        if self.arms:
            return sum(state.remaining() for state in self.arms.values())
        return sum(trials for _, trials, _ in self.study.trial_epochs())

    def opened(self, sha256: str) -> "StudyQueue":
        """Return another queue over the same record, as this one will be with weights of this hash to start from."""
        other = StudyQueue(self.planner, self._record, objective=self.objective, earlier=self._earlier)
        other.start_known(sha256)
        return other

    def to_go_on(self) -> list[PlannedTrial]:
        """Return the trials that are in the record and have to be run on, or again."""
        cut_off = [plan for state in self.arms.values() for plan in state.cut_off.values()]
        return [*cut_off, self.pretrain] if self.pretrain and self.start is None else cut_off

    def recorded_start(self) -> Mapping[str, Any] | None:
        """Find the row of the completed start in the record; None without one."""
        key = self.pretrain.trial_key if self.pretrain else None
        whole = (row for row in self._record if row["trial_key"] == key and row["status"] == COMPLETED)
        return next(whole, None)

    def start_known(self, sha256: str, row: Mapping[str, Any] | None = None) -> None:
        """Open the arms, now that the pretrained checkpoint with this hash is there; `row` is its trial's."""
        self.start = row
        self.planner = replace(self.planner, init_sha256=sha256)
        self._pretrain_live = False
        self._open_arms()

    def ahead(self) -> list[PlannedTrial]:
        """Plan the trials that depend on no result and have not begun: the start, or those of all arms beyond it."""
        if not self.arms:
            return [self.pretrain] if self.pretrain and not self._pretrain_live else []
        return [plan for state in self.arms.values() for plan in state.ahead()]

    def next(self) -> PlannedTrial | None:
        """Return the next trial to start; None if nothing can start now (see `finished`)."""
        if self.again:
            return self.again.pop(0)
        if self.closed:
            return None
        if not self.arms:
            if self._pretrain_live:
                return None
            self._pretrain_live = True
            return self.pretrain
        arm = ArmState
        steps = (arm.next_cut_off, arm.next_default, arm.next_random, arm.next_search, arm.next_retrain)
        for step in steps:
            if step is arm.next_search and not self.may_search():
                return None
            if plan := self._first(step):
                return plan
        return None

    def ended(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Take a trial's final row. Past `max_failed_trials`, `failure` is set and no more trials start."""
        if plan.stage == PRETRAIN:
            self._pretrain_live = False
            if row["status"] != COMPLETED:
                self._fail(f"The pretrained start of the study ended as {row['status']}", row)
            else:
                self.start_known(row["checkpoint_sha256"], row)
            return
        self.arms[plan.arm_id].end(plan, row)
        self._failures += row["status"] == ERROR
        if self._failures > self.study.max_failed_trials:
            limit = self.study.max_failed_trials
            self._fail(f"{self._failures} trials ended in an error, more than max_failed_trials = {limit}", row)

    def cut(self, plan: PlannedTrial) -> None:
        """Put aside a trial that was interrupted; the next run resumes it."""
        if plan.stage == PRETRAIN:
            self._pretrain_live = False
        else:
            self.arms[plan.arm_id].cut(plan)

    def _fail(self, reason: str, row: Mapping[str, Any]) -> None:
        detail = f" {row['error_type']}: {row['error_text']}" if row.get("error_type") else ""
        self.failure = f"{reason} (trial {row['trial_key']}).{detail}"
        self.closed = True

    def _open_arms(self) -> None:
        for arm in self.study.arms():
            self.arms[arm.arm_id] = ArmState(arm, self.planner, self.objective, self._earlier.get(arm.arm_id, {}))
        for row in self._record:
            if row["arm_id"] in self.arms:
                self.arms[row["arm_id"]].take(row)

    def _first(self, next_of: Callable[[ArmState], PlannedTrial | None]) -> PlannedTrial | None:
        """Start a trial of the arm with the fewest so far, so that arms advance together."""
        for state in sorted(self.arms.values(), key=lambda state: len(state.done) + len(state.live)):
            plan = next_of(state)
            if plan:
                state.live[plan.trial_key] = plan
                return plan
        return None
