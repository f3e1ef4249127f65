"""The bridge to Ray Tune: trials out of the queue, results into the record."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from ray.tune import Callback
from ray.tune.search import Searcher

from tune_qat.config import StorageRefused, TuneQatError
from tune_qat.tuning.plan import Plan
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.schedule import WARM_UP, Decision
from tune_qat.tuning.search import OBJECTIVE

WARM_UP_S = 120.0
"""Longest wait for every process to start, where a cluster has less room than it said."""
LOOK_FOR_LOST_S = 10.0
"""Seconds between looks for trials that Ray has given up."""
T = TypeVar("T")
Listener = Callable[[str, Plan, Mapping[str, Any]], None]
"""Told of `started`, `epoch` and `ended` with the plan and the report or row: the progress display."""


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
    """What Ray Tune asks for the next trial: the queue decides, over all arms and stages of one Tune run."""

    def __init__(
        self,
        queue: StudyQueue,
        record: TrialRecord,
        *,
        deadline: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deadline` is a time of `clock`, in seconds, after which trials should have ended."""
        super().__init__(metric=OBJECTIVE, mode="max")
        self.queue = queue
        self._record = record
        self._deadline = deadline
        self._clock = clock
        self._durations: list[float] = []
        self._begun: dict[str, float] = {}
        self.plans: dict[str, Plan] = {}
        self._processes = 1
        self._warm_ups_left = 0
        self.processes_seen: set[str] = set()
        """Ray's names of the processes that have got a trial."""
        self._warm_by = 0.0
        self.listener: Listener = lambda event, plan, values: None
        self.out_of_time = False
        self.say: Callable[[str], Any] = lambda text: None
        self.refused: TuneQatError | None = None
        """Why the record cannot be written any more, if that is so: the study stops, and the next run goes on."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        # Metric, mode and space belong to each arm's own sampler.
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of a new Tune trial, None to be asked again, or FINISHED."""
        if self.plans and self._warm_ups_left:
            self._warm_ups_left -= 1
            return {"arm_id": "", "stage": WARM_UP, "trial_key": ""}
        if self._begun.keys() < self.plans.keys():
            # One trial ahead is what Ray's cache of processes needs; a sampler asked any earlier would know less.
            return None
        if self._deadline is not None and self._clock() + self._usual_duration() > self._deadline:
            self.out_of_time = self.queue.closed = True
        plan = self.queue.next()
        if plan is None:
            return Searcher.FINISHED if self.queue.finished else None
        self.plans[trial_id] = plan
        return {"plan": plan.to_dict(), "arm_id": plan.arm_id, "stage": plan.stage, "trial_key": plan.trial_key}

    def warm_up(self, processes: int) -> None:
        """Let every process start beside the first trial.

        Ray gives a waiting trial to the first process that is free and drops the one that was starting for it. With
        trials shorter than a process takes to start, no second process would ever come up.
        """
        # As many may wait for their process at once, or they would start one after the other.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(processes)
        self._processes, self._warm_ups_left = processes, processes - 1
        self._warm_by = time.monotonic() + WARM_UP_S

    def warm(self) -> bool:
        """Whether the warm-ups have done what they are for."""
        ready = bool(self.queue.arms) and len(self.processes_seen) >= self._processes
        return ready or self.queue.closed or self.queue.finished or time.monotonic() > self._warm_by

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: samplers are told of ended trials only."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended by itself or by ASHA; of one that Ray gives up, `died` is told with the reason."""
        if not error and trial_id in self.plans:
            self._end(trial_id, dict(result or {}))

    def started(self, trial_id: str) -> None:
        """A trial that was suggested has got its process."""
        plan = self.plans.get(trial_id)
        if plan is not None:
            self._begun.setdefault(trial_id, self._clock())
            self._write(lambda: self._record.started(plan))
            self.listener("started", plan, {})

    def died(self, trial_id: str, reason: str) -> None:
        """Ray gave a trial up: its process died more often than is retried."""
        if trial_id in self.plans:
            self._end(trial_id, {"status": "error", "error_type": "WorkerDied", "error_text": reason})

    def _end(self, trial_id: str, report: dict[str, Any]) -> None:
        plan = self.plans.pop(trial_id)
        self._durations.append(self._clock() - self._begun.pop(trial_id, self._clock()))
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
        """Rows of what was still running when the study was stopped."""
        for trial_id in self._begun:
            plan = self.plans[trial_id]
            self._write(partial(self._record.ended, plan, {}, "interrupted", "user"))

    def _usual_duration(self) -> float:
        return sorted(self._durations)[len(self._durations) // 2] if self._durations else 0.0


class Reports(Callback):
    """Passes a trial's reports on to the display, and notices trials that Ray gives up without a word."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher
        self._looked = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has got its process; after a failure, another one."""
        # Not from results: the first one comes an epoch later, and a second process would idle until then.
        self._searcher.processes_seen.add(trial.temporary_state.ray_actor._actor_id.hex())
        self._searcher.started(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One epoch of one trial."""
        plan = self._searcher.plans.get(trial.trial_id)
        if plan is not None:
            self._searcher.listener("epoch", plan, result)
            if result.get("set_aside") and result["epoch"] == 1:
                self._searcher.say(result["set_aside"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died once too often."""
        self._searcher.died(trial.trial_id, _reason(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """An error inside Ray itself ends a trial without telling its searcher: the study would wait for ever."""
        if time.monotonic() - self._looked < LOOK_FOR_LOST_S:
            return
        self._looked = time.monotonic()
        for trial in trials:
            if trial.status == "ERROR":
                self._searcher.died(trial.trial_id, _reason(trial))


def _final_status(report: Mapping[str, Any]) -> tuple[str, str | None]:
    """Status and stop reason of an ended trial: what its last report says, or ASHA if it was not at its end."""
    status = report.get("status", "error")
    return ("stopped", "asha") if status == "running" else (status, None)


def _reason(trial: Any) -> str:
    error = trial.get_error()
    return str(error)[-4000:] if error else "Ray ended the trial without giving a reason."
