"""Searcher of Ray Tune that takes trials from the queue, and writes results to the record."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from ray.tune.search import Searcher

from tune_qat.config import NotRead, StorageRefused, StudyHalted, TuneQatError
from tune_qat.config.statuses import COMPLETED, ERROR, INTERRUPTED, OOM, USER
from tune_qat.tuning.asha import STOPPED_BY_ASHA, Decision
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import WARM_UP, PlannedTrial
from tune_qat.tuning.process_failures import MAX_RESTARTS, ProcessFailure, killed_for_memory
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.ray_report import unpack
from tune_qat.tuning.trial_record import TrialRecord
from tune_qat.tuning.warm_up import WarmUps

TAKE_S = 1.0
"""Longest time that trials are taken over before Ray may look after the running ones again."""
T = TypeVar("T")
Listener = Callable[[str, PlannedTrial, Mapping[str, Any]], None]
"""Progress display, called with `started`, `epoch`, `lost` or `ended`, the plan, and the report or row."""


class StudySearcher(Searcher):
    """Searcher for one run, over all arms and stages: the queue decides which trial is next."""

    def __init__(self, queue: StudyQueue, record: TrialRecord, *, budget: Budget, meter: Meter) -> None:
        """Start trials within `budget`."""
        super().__init__(metric=OBJECTIVE, mode="max")
        self.queue = queue
        self.meter = meter
        self.unit = ""
        """Unit of the metric, for a display."""
        self.warm_ups = WarmUps(queue)
        self.plans: dict[str, PlannedTrial] = {}
        """Trials that were handed out and have not ended, by Ray's trial id."""
        self.reached: str | None = None
        """Limit of the budget that leaves no room for another trial."""
        self.stopped = False
        """Whether the user has stopped the run."""
        self.refused: TuneQatError | None = None
        """Error of a record that cannot be written any more; the study stops, and the next run resumes it."""
        self.on_loss: Callable[[PlannedTrial], Any] = lambda plan: None
        """Called for a trial that has lost its process, whose last recorded epoch may not have been judged."""
        self.take_over: Callable[[PlannedTrial], dict[str, Any] | None] = lambda plan: None
        """Returns the row of a trial that another study has completed, and None for one that has to be trained."""
        self.on_give_up: Callable[[], None] = lambda: None
        self._record, self._budget = record, budget
        self._listeners: list[Listener] = []
        self._begun: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._stopping: set[str] = set()

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def tell(self, event: str, plan: PlannedTrial, values: Mapping[str, Any]) -> None:
        """Pass an event on to all listeners."""
        for listener in self._listeners:
            listener(event, plan, values)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        # Metric, mode and space belong to each arm's own sampler.
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a new Tune trial, None to be asked again, or FINISHED."""
        if self.plans and self.warm_ups.take(trial_id):
            return {"arm_id": "", "stage": WARM_UP, "trial_key": ""}
        if self._waiting >= self.warm_ups.ahead(len(self._begun)):
            return None
        if not self.queue.closed:
            self.reached = self._budget.reached(self.meter.spent())
            self.queue.closed = self.reached is not None
        plan = self._next()
        if plan is None:
            return Searcher.FINISHED if self.queue.finished else None
        self.plans[trial_id] = plan
        self.meter.planned(plan.trial_key)
        return {"plan": plan.to_json(), "arm_id": plan.arm_id, "stage": plan.stage, "trial_key": plan.trial_key}

    def _next(self) -> PlannedTrial | None:
        """Return the next trial to train; trials that can be taken over are, on the way to it."""
        until = time.monotonic() + TAKE_S
        while (plan := self.queue.next()) is not None and self.take(plan):
            if time.monotonic() > until:
                return None
        return plan

    def take(self, plan: PlannedTrial) -> bool:
        """Take a trial over if another study has completed it, and tell whether it need not be trained now."""
        before = self.refused
        row = self._write(lambda: self.take_over(plan))
        self._stopping.discard(plan.trial_key)
        if row is not None:
            self.queue.ended(plan, row)
            self.tell("ended", plan, row)
        elif self.refused is not before:
            self.queue.cut(plan)
        return row is not None or self.refused is not before

    @property
    def _waiting(self) -> int:
        """Number of trials that have no process yet."""
        return len(self.plans) - len(self._begun)

    def room(self, slots: int) -> None:
        """Set the number of trials that the nodes have room for, after nodes have joined or left."""
        self.warm_ups.room(slots, self._waiting, len(self._begun))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """End a trial that finished, or that ASHA stopped; one that Ray gave up ends in `lost`, with the reason."""
        self.warm_ups.end(trial_id)
        if not error and trial_id in self.plans:
            self._end(trial_id, unpack(result or {}))

    def started(self, trial_id: str, process: str) -> None:
        """Mark a suggested trial as running in this process."""
        self.warm_ups.seen[process] = trial_id
        plan = self.plans.get(trial_id)
        if plan is not None and trial_id not in self._begun:
            self._begun.add(trial_id)
            self.meter.begin(plan.trial_key)
            self._write(lambda: self._record.started(plan))
            self.tell("started", plan, {})

    def lost(self, trial_id: str, failure: ProcessFailure) -> None:
        """Run a trial again whose process is gone; end it if ASHA stops it, or if it took all memory or was lost often.

        Ray's own `max_failures` does not tell these cases apart, and gives a trial up at once if its process dies
        between two trials.
        """
        self.warm_ups.end(trial_id)
        plan = self.plans.get(trial_id)
        if plan is None:
            return
        self._losses[plan.trial_key] += not failure.excused
        self._write(lambda: self.on_loss(plan))
        if plan.trial_key in self._stopping:
            self._end(trial_id, {})
        elif failure.out_of_memory:
            self._end(trial_id, {"status": OOM, "error_type": "OutOfMemoryError", "error_text": failure.reason})
        elif self._losses[plan.trial_key] > MAX_RESTARTS:
            self._end(trial_id, {"status": ERROR, "error_type": "WorkerDied", "error_text": failure.reason})
        else:
            self._forget(trial_id)
            self.meter.lose(plan.trial_key)
            self.queue.again.append(plan)
            self.tell("lost", plan, {})

    def all_lost(self, reason: str) -> None:
        """Call `lost` for every trial, after Ray Tune has given them all up because one was killed for its memory.

        Ray's monitor may kill several processes of a node: the largest used up the memory, the others are excused.
        """
        victims = [self.warm_ups.seen.get(process, "") for process in killed_for_memory(reason)]
        largest = next((trial_id for trial_id in victims if trial_id in self._begun), None)
        for trial_id in [*self.plans]:
            excused = largest is not None or trial_id not in self._begun
            self.lost(
                trial_id, ProcessFailure(reason=reason[:4_000], out_of_memory=trial_id == largest, excused=excused)
            )

    def decided(self, decision: Decision) -> None:
        """Write a decision of ASHA; a trial that it stops will end as stopped."""
        if decision.stops:
            self._stopping.add(decision.trial_key)
        self._write(lambda: self._record.decided(decision))

    def _end(self, trial_id: str, report: dict[str, Any]) -> None:
        plan = self._forget(trial_id)
        self.meter.end(plan.trial_key)
        status, reason = STOPPED_BY_ASHA if plan.trial_key in self._stopping else (report.get("status", ERROR), None)
        self._stopping.discard(plan.trial_key)
        if status == INTERRUPTED:
            # From the trial's process the error came over as the name of its class, and its text.
            refused = report.get("error_type") in (StorageRefused.__name__, NotRead.__name__)
            self.give_up((StorageRefused if refused else StudyHalted)(report["error_text"]))
        row = self._write(lambda: self._last_row(plan, report, status, reason))
        if row is None or status == INTERRUPTED:
            self.queue.cut(plan)
            return
        self.queue.ended(plan, row)
        self.tell("ended", plan, row)

    def _last_row(
        self, plan: PlannedTrial, report: dict[str, Any], status: str, reason: str | None
    ) -> Mapping[str, Any]:
        kept = plan.stage in self.queue.study.kept_stages
        if kept and status == COMPLETED and "checkpoint_sha256" not in report:
            report["checkpoint_sha256"] = self._record.weights_hash(plan, plan.config.epochs)
        return self._record.ended(plan, report, status, reason)

    def _forget(self, trial_id: str) -> PlannedTrial:
        self._begun.discard(trial_id)
        return self.plans.pop(trial_id)

    def _write(self, write: Callable[[], T]) -> T | None:
        """Return the result of `write`; None if the record refuses it, because Ray would end the trial alone."""
        try:
            return write()
        except TuneQatError as error:
            self.give_up(error)
            return None

    def give_up(self, error: TuneQatError) -> None:
        """Start no more trials; the study ends with the first such error."""
        self.refused = self.refused or error
        self.queue.closed = True
        self.on_give_up()

    def stop(self) -> None:
        """Start no more trials: the user has stopped the run."""
        self.stopped = self.queue.closed = True

    def interrupt(self) -> None:
        """Write rows of trials that were running, or waiting to go on, when the run ended."""
        begun = [self.plans[trial_id] for trial_id in self._begun]
        for plan in [*begun, *self.queue.again]:
            last_row = partial(self._record.ended, plan, {}, INTERRUPTED, USER if self.stopped else None)
            if self._write(last_row) is None:
                return  # storage refuses the other rows, too, which are resumed as they are

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a resumed study starts from the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Load nothing, as `save` saves nothing."""

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its searcher for a restore, which is not used: queue and record stay here.
        return {}
