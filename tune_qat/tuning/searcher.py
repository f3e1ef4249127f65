"""The bridge to Ray Tune: trials out of the queue, results into the record."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from ray.tune import Callback
from ray.tune.search import Searcher

from tune_qat.config import StorageRefused, TuneQatError
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import Plan
from tune_qat.tuning.process_failures import MAX_RESTARTS, Loss, killed_for_memory, loss_of
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.ray_report import unpack
from tune_qat.tuning.scheduler import WARM_UP, Decision

WARM_UP_S = 120.0
"""Longest wait for every process to start, where a cluster has less room than it said."""
LOOK_S = 5.0
"""Seconds between looks for nodes that came or went, and for trials that Ray has given up."""
T = TypeVar("T")
Listener = Callable[[str, Plan, Mapping[str, Any]], None]
"""Told of `started`, `epoch`, `lost` and `ended` with the plan and the report or row: the progress display."""


class TrialRecord(Protocol):
    """Where a trial's rows go: the record, or a simulation's memory."""

    def started(self, plan: Plan) -> None:
        """A row for a trial that runs."""
        ...

    def ended(self, plan: Plan, report: Mapping[str, Any], status: str, stop_reason: str | None) -> dict[str, Any]:
        """The row of a trial that has ended."""
        ...

    def weights_hash(self, plan: Plan) -> str:
        """Hash of the weights that a trial ended with."""
        ...

    def decided(self, decision: Decision) -> None:
        """What ASHA decided about a trial at a rung."""
        ...


class StudySearcher(Searcher):
    """What Ray Tune asks for the next trial: the queue decides, over all arms and stages of one run."""

    def __init__(self, queue: StudyQueue, record: TrialRecord, *, budget: Budget, meter: Meter) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self.queue = queue
        self._record = record
        self._budget = budget
        self.meter = meter
        self.plans: dict[str, Plan] = {}
        """Trials that were handed out and have not ended, by Ray's name."""
        self._begun: set[str] = set()
        self._warming: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._slots = 1
        self._limit: int | None = None
        self._processes = 1
        self._warm_ups_left = 0
        self.processes_seen: dict[str, str] = {}
        """Ray's names of the processes that have got a trial, each with the last one."""
        self._warm_by = 0.0
        self.listener: Listener = lambda event, plan, values: None
        self.on_loss: Callable[[Plan], None] = lambda plan: None
        """Told of a trial before it goes on."""
        self.reached: str | None = None
        """The budget that leaves no room for another trial."""
        self.stopped = False
        """Whether the user has stopped the run."""
        self.say: Callable[[str], Any] = lambda text: None
        self.refused: TuneQatError | None = None
        """Why the record cannot be written any more, if that is so: the study stops, and the next run goes on."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        # Metric, mode and space belong to each arm's own sampler.
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of a new Tune trial, None to be asked again, or FINISHED."""
        if self.plans and self._warm_ups_left and not self.queue.closed:
            self._warm_ups_left -= 1
            self._warming.add(trial_id)
            return {"arm_id": "", "stage": WARM_UP, "trial_key": ""}
        if len(self.plans) - len(self._begun) >= self._ahead():
            return None
        if not self.queue.closed:
            self.reached = self._budget.reached(self.meter.spent())
            self.queue.closed = self.reached is not None
        plan = self.queue.next()
        if plan is None:
            return Searcher.FINISHED if self.queue.finished else None
        self.plans[trial_id] = plan
        self.meter.planned(plan.trial_key)
        return {"plan": plan.to_json(), "arm_id": plan.arm_id, "stage": plan.stage, "trial_key": plan.trial_key}

    def _ahead(self) -> int:
        """Trials that may wait for a process: one for each that could start, and one if none could.

        That one is what Ray's cache of processes needs; a sampler asked any earlier would know less. Up to a limit
        that the user gave, all wait: an autoscaler starts nodes for them.
        """
        return max(1, (self._limit or self._slots) - len(self._begun) - len(self._warming))

    def warm_up(self, room: int, limit: int | None = None) -> None:
        """Let every process start beside the first trial; `room` is how many, `limit` how many trials are asked for.

        Ray gives a waiting trial to the first process that is free and drops the one that was starting for it. With
        trials shorter than a process takes to start, no second process would ever come up.
        """
        self.processes_seen.clear()
        self._warming.clear()
        self._slots, self._limit = max(1, room), limit
        self._processes, self._warm_ups_left = self._slots, self._slots - 1
        self._warm_by = time.monotonic() + WARM_UP_S

    def room(self, slots: int) -> None:
        """Nodes have come or gone: processes of new ones are started as those of the first."""
        more = slots - self._slots
        self._slots = max(1, slots)
        if more > 0:
            # Trials that wait already start processes by themselves.
            self._warm_ups_left += max(0, more - (len(self.plans) - len(self._begun)))
            self._processes = len(self.processes_seen) + self._warm_ups_left
            self._warm_by = time.monotonic() + WARM_UP_S

    def warm(self) -> bool:
        """Whether the warm-ups have done what they are for."""
        ready = bool(self.queue.arms) and len(self.processes_seen) >= self._processes
        return ready or self.queue.closed or self.queue.finished or time.monotonic() > self._warm_by

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: samplers are told of ended trials only."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended by itself or by ASHA; of one that Ray gives up, `lost` is told with the reason."""
        self._warming.discard(trial_id)
        if not error and trial_id in self.plans:
            self._end(trial_id, unpack(result or {}))

    def started(self, trial_id: str, process: str) -> None:
        """A trial that was suggested has got its process."""
        self.processes_seen[process] = trial_id
        plan = self.plans.get(trial_id)
        if plan is not None and trial_id not in self._begun:
            self._begun.add(trial_id)
            self.meter.begin(plan.trial_key)
            self._write(lambda: self._record.started(plan))
            self.listener("started", plan, {})

    def lost(self, trial_id: str, loss: Loss) -> None:
        """A trial's process is gone: it goes on from its checkpoint, unless it took the memory or was lost too often.

        Not left to Ray's own `max_failures`, which does not tell these cases apart, and gives a trial up at once whose
        process dies between two trials.
        """
        self._warming.discard(trial_id)
        plan = self.plans.get(trial_id)
        if plan is None:
            return
        self._losses[plan.trial_key] += not loss.excused
        if loss.out_of_memory:
            self._end(trial_id, {"status": "oom", "error_type": "OutOfMemoryError", "error_text": loss.reason})
        elif self._losses[plan.trial_key] > MAX_RESTARTS:
            self._end(trial_id, {"status": "error", "error_type": "WorkerDied", "error_text": loss.reason})
        else:
            self._forget(trial_id)
            self.meter.lose(plan.trial_key)
            self.on_loss(plan)
            self.queue.again.append(plan)
            self.listener("lost", plan, {})

    def all_lost(self, reason: str) -> None:
        """Ray Tune has given up every trial, for what `reason` says of one: its process was killed for its memory.

        Ray's monitor may kill several of a node; the largest took the memory, the others are excused.
        """
        victims = [self.processes_seen.get(process, "") for process in killed_for_memory(reason)]
        largest = next((trial_id for trial_id in victims if trial_id in self._begun), None)
        for trial_id in [*self.plans]:
            excused = largest is not None or trial_id not in self._begun
            self.lost(trial_id, Loss(reason=reason[:4_000], out_of_memory=trial_id == largest, excused=excused))

    def _end(self, trial_id: str, report: dict[str, Any]) -> None:
        plan = self._forget(trial_id)
        self.meter.end(plan.trial_key)
        status, reason = _final_status(report)
        if plan.stage == "pretrain" and status == "completed":
            report["checkpoint_sha256"] = self._record.weights_hash(plan)
        row = self._write(lambda: self._record.ended(plan, report, status, reason))
        if row is None or status == "interrupted":
            self.give_up(self.refused or StorageRefused(report["error_text"]))
            self.queue.cut(plan)
            return
        self.queue.ended(plan, row)
        self.listener("ended", plan, row)

    def _forget(self, trial_id: str) -> Plan:
        self._begun.discard(trial_id)
        return self.plans.pop(trial_id)

    def decided(self, decision: Decision) -> None:
        """What ASHA decided goes into the record."""
        self._write(lambda: self._record.decided(decision))

    def _write(self, write: Callable[[], T]) -> T | None:
        """What `write` gives; None once the record cannot be written: Ray must not fall over that."""
        try:
            return write()
        except StorageRefused as error:
            self.give_up(error)
            return None

    def give_up(self, error: TuneQatError) -> None:
        """Start no more trials; the study ends with this error."""
        self.refused = self.refused or error
        self.queue.closed = True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a resumed study starts from the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its searcher for a restore that is not used here; queue and record are not for that.
        return {}

    def interrupt(self) -> None:
        """Rows of what was still running, or waiting to go on, when the run ended."""
        begun = [self.plans[trial_id] for trial_id in self._begun]
        for plan in [*begun, *self.queue.again]:
            self._write(partial(self._record.ended, plan, {}, "interrupted", "user" if self.stopped else None))


class Reports(Callback):
    """Passes a trial's reports on to the display, and notices trials that Ray gives up and nodes that come and go."""

    def __init__(self, searcher: StudySearcher, room: Callable[[], int]) -> None:
        """`room` says how many trials the nodes have room for now."""
        self._searcher = searcher
        self._room = room
        self._looked = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has got its process."""
        # Not from results: the first one comes an epoch later, and a second process would idle until then.
        self._searcher.started(trial.trial_id, trial.temporary_state.ray_actor._actor_id.hex())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One epoch of one trial."""
        plan = self._searcher.plans.get(trial.trial_id)
        if plan is not None:
            report = unpack(result)
            self._searcher.listener("epoch", plan, report)
            if report.get("set_aside") and report["epoch"] == 1:
                self._searcher.say(report["set_aside"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died."""
        self._searcher.lost(trial.trial_id, loss_of(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """An error inside Ray itself ends a trial without telling its searcher: the study would wait for ever."""
        if self._searcher.stopped:
            # At once: Ray Tune takes up to ten seconds to end its processes, and whoever stops the run may not wait.
            self._searcher.interrupt()
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        self._searcher.room(self._room())
        for trial in trials:
            if trial.status == "ERROR" and trial.trial_id in self._searcher.plans:
                self._searcher.lost(trial.trial_id, loss_of(trial))


def _final_status(report: Mapping[str, Any]) -> tuple[str, str | None]:
    """Status and stop reason of an ended trial: what its last report says, or ASHA if it was not at its end."""
    status = report.get("status", "error")
    return ("stopped", "asha") if status == "running" else (status, None)
