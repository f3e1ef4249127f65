"""Event loop in place of Ray Tune: trials on simulated workers report in the order of their simulated times.

It is a discrete-event simulation like Syne Tune's simulator backend (Salinas et al., AutoML 2022), but only epochs take
simulated time: the time of a sampler does not count, so that the seed determines the result.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tune_qat.config.statuses import RUNNING
from tune_qat.simulate.curves import Curve, Curves
from tune_qat.simulate.memory_record import Memory
from tune_qat.study import Study
from tune_qat.tuning import resume
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.searcher import StudySearcher

_NO_CONTROLLER: Any = None
"""Stand-in for Ray Tune's controller, which our scheduler does not use."""


@dataclass
class Run:
    trial: Any
    """Stand-in for a Ray Tune trial, with what a scheduler uses of it."""
    plan: PlannedTrial
    curve: Curve
    first: int
    """Number of epochs that an earlier run of the study had recorded."""
    epoch: int
    """Number of epochs that are done."""
    status: str = RUNNING
    ended_at: float | None = None
    """Simulated time in seconds."""


@dataclass
class Simulation:
    """Simulation of a study from its record to the end of the study or its budget, or to a `cut`.

    All decisions are made by the classes of a real run: `StudyQueue`, `ArmSampler`, `StudyScheduler` with ASHA, and
    `StudySearcher`. One trial is proposed before a worker is free, as Ray Tune does.
    """

    study: Study
    curves: Curves
    workers: int
    memory: Memory
    time_budget: float | None = None
    """Simulated seconds after which trials should have ended."""
    ahead: bool = True
    """Whether a trial is proposed before a worker is free; a run with --max-concurrent waits for the worker."""
    cut: Callable[[Run], bool] = lambda run: False
    """Test whether the driver dies at this epoch, which is recorded but not reported."""
    runs: list[Run] = field(default_factory=list)
    """Trials in the order of their start."""

    def __post_init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Run]] = []
        self._count = 0
        self._waiting: Run | None = None
        self._free = self.workers
        rows = self.memory.rows()
        known = None if self.study.training.init == "pretrain" else self.curves.start_sha256(0)
        planner = Planner(study=self.study, work=self.curves, init_sha256=known)
        objectives = self.curves.objectives(self.study)
        self.queue = StudyQueue(planner, rows, objective=self.curves.objective, objectives=objectives)
        for start in self.queue.starts:
            if (row := self.queue.recorded_start(start)) is not None:
                self.queue.start_known(start, row["checkpoint_sha256"])
        self.searcher = StudySearcher(
            self.queue, self.memory, budget=Budget(seconds=self.time_budget), meter=Meter(clock=lambda: self.now)
        )
        resume.finish_rows(self.queue, self.memory)
        self.scheduler = StudyScheduler(self.study, self.searcher.decided)
        resume.refill(self.scheduler, self.queue, self.memory)
        self.searcher.on_loss = partial(resume.judge_lost, self.scheduler, self.queue, self.memory)

    def run(self) -> "Simulation":
        """Run to the end, and return the simulation itself."""
        self._fill()
        while self._events:
            self.now, _, run = heapq.heappop(self._events)
            if run.epoch < len(run.curve.metrics):
                run.epoch += 1
                self.memory.epoch(run.plan, self._report(run))
                if self.cut(run):
                    break
            self._told(run, self._report(run))
            self._fill()
        return self

    def _fill(self) -> None:
        """Start trials on free workers, and let one more wait for the next free worker."""
        while True:
            if self._waiting is None and (self._free or self.ahead):
                self._propose()
            if self._waiting is None or not self._free:
                return
            run, self._waiting = self._waiting, None
            self._free -= 1
            self.runs.append(run)
            self.searcher.started(run.trial.trial_id, process=run.trial.trial_id)
            self._schedule(run)

    def _propose(self) -> None:
        name = str(self._count)
        config = self.searcher.suggest(name)
        if config is None or config == Searcher.FINISHED:
            return
        self._count += 1
        plan = self.searcher.plans[name]
        done = len(self.memory.epochs.get(plan.trial_key, ()))
        trial = SimpleNamespace(trial_id=name, config=config)
        self._waiting = Run(trial=trial, plan=plan, curve=self.curves.curve(plan), first=done, epoch=done)

    def _schedule(self, run: Run) -> None:
        # A trial whose last epoch was recorded before its row has nothing left to train.
        seconds = run.curve.seconds[run.epoch] if run.epoch < len(run.curve.seconds) else 0.0
        # Trial ids count proposals: of trials that report at the same moment the older comes first.
        heapq.heappush(self._events, (self.now + seconds, int(run.trial.trial_id), run))

    def _report(self, run: Run) -> dict[str, Any]:
        metric = run.curve.metrics[run.epoch - 1]
        last = run.epoch == len(run.curve.metrics)
        return {
            "epoch": run.epoch,
            "status": run.curve.status if last else RUNNING,
            "val_metric": metric,
            OBJECTIVE: self.queue.objective.of(metric),
        }

    def _told(self, run: Run, report: dict[str, Any]) -> None:
        """Handle a report as Ray Tune does: the scheduler decides about a trial that has not ended by itself."""
        action = TrialScheduler.STOP
        if report["status"] == RUNNING:
            action = self.scheduler.on_trial_result(_NO_CONTROLLER, run.trial, report)
        if action != TrialScheduler.STOP:
            self._schedule(run)
            return
        self.scheduler.on_trial_complete(_NO_CONTROLLER, run.trial, report)
        self.searcher.on_trial_complete(run.trial.trial_id, report)
        run.status, run.ended_at = self.memory.outcomes[run.plan.trial_key]["status"], self.now
        self._free += 1


def simulate(
    study: Study, curves: Curves, *, workers: int, time_budget: float | None = None, ahead: bool = True
) -> Simulation:
    """Run a study from an empty record to its end, or to the end of its budget in simulated seconds."""
    memory = Memory(start_sha256=curves.start_sha256)
    return Simulation(study, curves, workers, memory, time_budget=time_budget, ahead=ahead).run()
