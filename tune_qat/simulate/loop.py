"""The event loop in Ray Tune's place: trials on simulated workers, in the order in which they would report.

A discrete-event simulation as Syne Tune's simulator backend (Salinas et al., AutoML 2022), but the clock knows epochs
alone: what a sampler takes to propose costs no simulated time, so that a seed decides everything.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
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
from tune_qat.tuning.plan import Plan, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.searcher import StudySearcher

_NO_CONTROLLER: Any = None
"""Neither ASHA nor our scheduler looks at it."""


@dataclass
class Run:
    """One trial on its simulated worker."""

    trial: Any
    """As much of a Ray Tune trial as a scheduler looks at."""
    plan: Plan
    curve: Curve
    first: int
    """Epochs that an earlier run of the study had recorded."""
    epoch: int
    """Epochs that are behind it."""
    status: str = RUNNING
    ended_at: float | None = None
    """Seconds on the simulated clock."""


@dataclass
class Simulation:
    """A study from where its record stands to its end, its budget, or where `cut` ends it.

    Everything that decides is the study's own: `StudyQueue`, an Optuna sampler an arm, `StudyScheduler` with
    ASHA, and the searcher that Ray Tune asks. One trial is proposed ahead of a free worker, as Ray Tune asks for.
    """

    study: Study
    curves: Curves
    workers: int
    memory: Memory
    time_budget: float | None = None
    """Simulated seconds after which trials should have ended."""
    ahead: bool = True
    """False: as a run with --max-concurrent, whose next trial is proposed when a worker is free."""
    cut: Callable[[Run], bool] = lambda run: False
    """Asked before an epoch is reported; True is the death of the driver, with the epoch recorded but not told."""
    runs: list[Run] = field(default_factory=list)
    """Trials that were started, in this order."""

    def __post_init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Run]] = []
        self._count = 0
        self._waiting: Run | None = None
        self._free = self.workers
        rows = self.memory.rows()
        known = None if self.study.training.init == "pretrain" else self.curves.init_sha256
        planner = Planner(study=self.study, work=self.curves, init_sha256=known)
        self.queue = StudyQueue(planner, rows, objective=self.curves.objective)
        start = resume.recorded_start(self.queue, rows)
        if start is not None:
            self.queue.start_known(start["checkpoint_sha256"])
        self.searcher = StudySearcher(
            self.queue, self.memory, budget=Budget(seconds=self.time_budget), meter=Meter(clock=lambda: self.now)
        )
        resume.finish_rows(self.queue, self.memory)
        history = resume.history(self.queue, self.memory)
        self.scheduler = StudyScheduler(self.study, history, self.searcher.decided)
        resume.refill(self.scheduler, self.queue)

    def run(self) -> "Simulation":
        """To the end; itself."""
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
        """Give free workers their trials, and let one more wait for the next that is free."""
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
        self.scheduler.on_trial_add(_NO_CONTROLLER, trial)

    def _schedule(self, run: Run) -> None:
        # A trial that had ended before its row was written has nothing left to train.
        seconds = run.curve.seconds[run.epoch] if run.epoch < len(run.curve.seconds) else 0.0
        # Names rise with every proposal: of trials that report at the same moment the older comes first.
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
        """What Ray Tune does with a report: the scheduler decides about trials that have not ended by themselves."""
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
    """A study from an empty record, to its end or the end of its budget in simulated seconds."""
    memory = Memory(init_sha256=curves.init_sha256)
    simulation = Simulation(
        study=study, curves=curves, workers=workers, memory=memory, time_budget=time_budget, ahead=ahead
    )
    return simulation.run()
