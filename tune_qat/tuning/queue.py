"""Queue of a study's trials: it is asked for the next one, and told how each ended. It knows nothing of Ray."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tune_qat.config.statuses import CALIBRATED, COMPLETED, ERROR, PRETRAIN
from tune_qat.study import Arm
from tune_qat.study.mixed import waits
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.baselines import Baselines
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import METRIC_ALONE, Objectives
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.points import Spaces
from tune_qat.tuning.start_state import StartState, start_states


class StudyQueue:
    """The study's trials in the order pretrain, default, random, search, finalists, retrain, calibrated.

    The stages of one arm follow each other; an arm does not wait for the other arms, unless `may_search` has it wait.
    """

    def __init__(
        self,
        planner: Planner,
        record: list[dict[str, Any]],
        *,
        objective: Objective,
        objectives: Objectives = METRIC_ALONE,
        earlier: Mapping[str, Spaces] | None = None,
        trivial_scores: Mapping[int, float] | None = None,
    ) -> None:
        """Start from the trials of `record`; the hash of a pretrained start is not in `planner` yet.

        By arm, `earlier` holds the ranges that its trials were searched in before, where they were others. By repeat,
        `trivial_scores` holds the constant predictor's score on its validation data, where that is not the same in all.
        Of several `objectives`, `objective` is the metric.
        """
        self.study, self.planner, self.objective = planner.study, planner, objective
        self.objectives = objectives
        self._record, self._earlier, self._trivial_scores = record, earlier or {}, trivial_scores or {}
        self.starts = start_states(self.study, planner)
        self.arms: dict[str, ArmState] = {}
        """Arms by id, of the starts that are known."""
        self.baselines = Baselines(self.study, planner.work, record)
        self._failures = 0
        self.failure: str | None = None
        """Reason why the study cannot go on, if there is one."""
        self.closed = False
        """Whether no new trials start, because of the user, a budget or a failure."""
        self.again: list[PlannedTrial] = []
        """Trials that have lost their process; they go on before any other, also in a closed queue."""
        self.may_search: Callable[[], bool] = lambda: True
        """Tells whether the search may start; asked once all arms are there and have begun the stages before."""
        self.on_open: Callable[[list[ArmState]], Any] = lambda arms: None
        """Called with the arms that begin once their start is known, and what is recorded of them."""
        self._open_arms()

    @property
    def live(self) -> list[PlannedTrial]:
        running = [plan for state in self.arms.values() for plan in state.live.values()]
        running += self.baselines.live.values()
        return [*running, *(start.plan for start in self.starts if start.live and start.plan)]

    @property
    def started(self) -> bool:
        """Whether all starts are known."""
        return all(start.known for start in self.starts)

    @property
    def open(self) -> bool:
        """Whether all arms are there: starts are known, and layers of mixed schemes have their bits."""
        return self.started and not self.study.waits

    @property
    def finished(self) -> bool:
        """Whether nothing is running and nothing will follow."""
        ahead = self.started if self.study.waits else self.open and not self.left()
        return not self.live and (self.closed or ahead)

    def left(self) -> int:
        return sum(state.left() for state in self.arms.values()) + self.baselines.left(self.arms.values())

    def remaining(self) -> int:
        """Count the planned trials that have not ended."""
        ahead = [arm for arm in self.study.arms() if arm.arm_id not in self.arms]
        planned = sum(sum(self.study.planned(arm).values()) for arm in ahead)
        starts = sum(not start.known for start in self.starts)
        left = sum(state.remaining() for state in self.arms.values())
        chosen = not starts and not ahead and all(state.chosen for state in self.arms.values())
        return starts + planned + left + self.baselines.remaining(self.arms.values(), all_chosen=chosen)

    def opened(self, sha256: Callable[[StartState], str | None]) -> "StudyQueue":
        """Return another queue over the same record, as this one will be with the weights of these hashes."""
        other = StudyQueue(
            self.planner,
            self._record,
            objective=self.objective,
            objectives=self.objectives,
            earlier=self._earlier,
            trivial_scores=self._trivial_scores,
        )
        for start in other.starts:
            if not start.known and (found := sha256(start)) is not None:
                other.start_known(start, found)
        return other

    def to_go_on(self) -> list[PlannedTrial]:
        """Return the trials that are in the record and have to be run on, or again."""
        cut_off = [plan for state in self.arms.values() for plan in state.cut_off.values()]
        return [*cut_off, *(start.plan for start in self.starts if start.plan and start.row is None)]

    def recorded_start(self, start: StartState) -> Mapping[str, Any] | None:
        """Find the row of the completed trial that made a start in the record; None without one."""
        key = start.plan and start.plan.trial_key
        whole = (row for row in self._record if row["trial_key"] == key and row["status"] == COMPLETED)
        return next(whole, None)

    def start_of(self, arm: Arm) -> StartState:
        """Return the start of an arm."""
        of_repeat = (start for start in self.starts if arm.repeat in start.repeats)
        return next(start for start in of_repeat if start.control_for == arm.control_for)

    def start_known(self, start: StartState, sha256: str, row: Mapping[str, Any] | None = None) -> None:
        """Open the arms of a start, now that its checkpoint with this hash is there; `row` is its trial's."""
        start.begin_from(sha256, row)
        for other in self.starts:
            other.follow()
        self._open_arms()

    def ahead(self) -> list[PlannedTrial]:
        """Plan the trials that depend on no result and have not begun: starts, and those of the arms beyond them."""
        starts = [start.plan for start in self.starts if start.plan and not (start.known or start.live)]
        return [*starts, *(plan for state in self.arms.values() for plan in state.ahead())]

    def next(self) -> PlannedTrial | None:
        """Return the next trial to start; None if nothing can start now (see `finished`)."""
        if self.again:
            return self.again.pop(0)
        if self.closed:
            return None
        for start in self.starts:
            if start.plan and not (start.known or start.live):
                start.live = True
                return start.plan
        if self.study.waits:
            return None
        arm = ArmState
        searched = (arm.next_cut_off, arm.next_default, arm.next_random, arm.next_search)
        for step in (*searched, arm.next_finalist, arm.next_retrain):
            if step is arm.next_search and not (self.open and self.may_search()):
                return None
            if plan := self._first(step):
                return plan
        return self.baselines.next(self.arms.values())

    def ended(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Take a trial's final row. Past `max_failed_trials`, `failure` is set and no more trials start."""
        if plan.stage == PRETRAIN:
            start = self._start_that(plan)
            start.live = False
            if row["status"] != COMPLETED:
                self._fail(f"The pretrained start of the study ended as {row['status']}", row)
            else:
                self.start_known(start, row["checkpoint_sha256"], row)
            return
        if plan.stage == CALIBRATED:
            self.baselines.end(plan, row)
        else:
            self.arms[plan.arm_id].end(plan, row)
        self._failures += row["status"] == ERROR
        if self._failures > self.study.max_failed_trials:
            limit = self.study.max_failed_trials
            self._fail(f"{self._failures} trials ended in an error, more than max_failed_trials = {limit}", row)

    def cut(self, plan: PlannedTrial) -> None:
        """Put aside a trial that was interrupted; the next run resumes it."""
        if plan.stage == PRETRAIN:
            self._start_that(plan).live = False
        elif plan.stage == CALIBRATED:
            self.baselines.cut(plan)
        else:
            self.arms[plan.arm_id].cut(plan)

    def _fail(self, reason: str, row: Mapping[str, Any]) -> None:
        detail = f" {row['error_type']}: {row['error_text']}" if row.get("error_type") else ""
        self.failure = f"{reason} (trial {row['trial_key']}).{detail}"
        self.closed = True

    def _start_that(self, plan: PlannedTrial) -> StartState:
        """Return the start that a pretrain trial makes."""
        return next(start for start in self.starts if start.plan and start.plan.trial_key == plan.trial_key)

    def _open_arms(self) -> None:
        """Add the arms whose start is known, in the order of the study, with what is recorded of them."""
        found, added = self.arms, set[str]()
        self.arms = {}
        for arm in self.study.arms():
            start = self.start_of(arm)
            if arm.arm_id in found:
                self.arms[arm.arm_id] = found[arm.arm_id]
            elif start.known and not waits(arm.scheme):
                self.arms[arm.arm_id] = ArmState(
                    arm,
                    start.planner,
                    replace(self.objective, trivial=self._trivial_scores.get(arm.repeat, self.objective.trivial)),
                    earlier=self._earlier.get(arm.arm_id, {}),
                    objectives=self.objectives,
                )
                added.add(arm.arm_id)
        for row in self._record if added else ():
            if row["arm_id"] in added:
                self.arms[row["arm_id"]].take(row)
        self.on_open([state for arm_id, state in self.arms.items() if arm_id in added])

    def _first(self, next_of: Callable[[ArmState], PlannedTrial | None]) -> PlannedTrial | None:
        """Start a trial of the arm with the fewest so far, so that arms advance together."""
        for state in sorted(self.arms.values(), key=lambda state: len(state.done) + len(state.live)):
            plan = next_of(state)
            if plan:
                state.live[plan.trial_key] = plan
                return plan
        return None
