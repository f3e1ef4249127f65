"""Session of one run of a study: its queue, its record and its Tune runs."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError

from tune_qat.config import StorageRefused, TooManyFailures, UsageError
from tune_qat.config.statuses import BUDGET, USER
from tune_qat.results.layout import study_file, table_folder
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.provenance import library_versions
from tune_qat.results.reader import read_rows
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.training.workload import Workload
from tune_qat.tuning import resume
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.cluster.connect import Resources, room
from tune_qat.tuning.costs import objectives_of
from tune_qat.tuning.earlier import earlier_spaces
from tune_qat.tuning.given_start import Given, given_start
from tune_qat.tuning.mixed import Measure, allocated, choices_of_search
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.outcome import Outcome
from tune_qat.tuning.own_code import NO_CODE, OwnCode
from tune_qat.tuning.plan import DataDraws, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record, now
from tune_qat.tuning.reports import Reports
from tune_qat.tuning.rung_check import RungCheck
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.searcher import StudySearcher
from tune_qat.tuning.shared_start import open_arms
from tune_qat.tuning.signals import Stops
from tune_qat.tuning.standing import expected, standing_of
from tune_qat.tuning.take_over import TakeOver, columns_read
from tune_qat.tuning.team import bundles
from tune_qat.tuning.trainable import StudyTrial
from tune_qat.tuning.trial_context import TrialContext
from tune_qat.tuning.tuner import tuner
from tune_qat.tuning.versions import typed_command

BRING_BACK = "Bring it back, and run the same command again."
AGAIN = "Run the same command again: it makes the start again, and goes on."


class Session:
    """One run of one study on a connected cluster."""

    def __init__(
        self,
        study: Study,
        works: DataDraws[Workload],
        recorded: list[dict[str, Any]],
        budget: Budget,
        meter: Meter,
        patience: Patience,
        *,
        code: OwnCode = NO_CODE,
        allow_early_rung: bool = False,
        given: Given | None = None,
    ) -> None:
        """Start from the `recorded` trials; `meter` began with the run, and `patience` retries what storage refuses.

        `given` is the start that the study gives; where it is None, it is looked for now.
        """
        self.works, self.code = works, code
        self.results, self.say = patience.results, patience.say
        self._patience = patience
        self.started_at = now()
        given = given or given_start(study, works.first, self.results, self.say)
        given.keep(patience)
        self._given, self._budget, self._meter, self._allow_early_rung = given, budget, meter, allow_early_rung
        self._take_up(study, recorded)

    def _take_up(self, study: Study, recorded: list[dict[str, Any]]) -> None:
        """Plan what is missing of a study from the `recorded` trials."""
        self.study, self.recorded = study, recorded
        works, patience, given = self.works, self._patience, self._given
        task = works.first.task()
        restarts = {row["trial_key"]: row["n_restarts"] or 0 for row in recorded}
        self.record = Record(self.results, study, works, task.sign, patience.write_whole, patience.read, restarts)
        self._init_path, self.record.weights_text = given.path, given.text
        planner = Planner(study=study, work=works, init_sha256=given.sha256)
        earlier_arms = patience.read(partial(read_rows, self.results, "arms", study.name))
        self._earlier = earlier_spaces(study, earlier_arms, recorded)
        trivial = {one: self.record.points_of_repeat(one)["trivial_score"] for one in study.repeat_numbers}
        objective = Objective(task.sign, task.worst_metric, next(iter(trivial.values())))
        self.queue = StudyQueue(
            planner,
            recorded,
            objective=objective,
            objectives=objectives_of(study, lambda: self.record.cost_rows),
            earlier=self._earlier,
            trivial_scores=trivial,
        )
        self._others = patience.read(partial(OtherStudies, self.results, study.name, columns_read()))
        self._take_over = TakeOver(self._others, self.record, objective)
        self.searcher = StudySearcher(self.queue, self.record, budget=self._budget, meter=self._meter)
        self.searcher.unit = task.unit
        self.searcher.take_over = self._take_over
        self.searcher.on_give_up = self._hurry
        self._fitting = False
        self._starts = open_arms(self.queue, patience)
        self._rung_check = RungCheck(self.queue, self.record, self._refuse, self.say, allowed=self._allow_early_rung)
        self.queue.may_search = self._rung_check

    @property
    def known(self) -> list[Mapping[str, Any]]:
        """Rows of trials that are known before any is run: taken over, and last those that were recorded."""
        done = [row for state in self.queue.arms.values() for _, row in state.done.values()]
        return [*(start.row for start in self.queue.starts if start.row), *done, *self.recorded]

    @property
    def allocates(self) -> bool:
        """Whether layers of mixed schemes can get their bits now: starts are there, and nothing stopped."""
        ended = self.searcher.stopped or self.searcher.reached or self.searcher.refused or self.queue.closed
        return self.study.waits and self.queue.started and not ended

    def allocate(self, measure: Measure) -> None:
        """Give bits to the layers of mixed schemes by the first start, and go on as the study that has them."""
        start = self.queue.starts[0]
        path = self._starts[start.plan.trial_key] if start.plan else self._init_path
        work = self.works.of(self.study.data_options(start.repeats[0]))
        study = allocated(self.study, work, path, self._patience, measure)
        self._take_up(study, self._patience.read(partial(read_rows, self.results, "trials", study.name)))
        self.begin(say=False)

    def _write_study(self, complete: bool) -> None:
        arms = self.queue.arms.items()
        chosen = {arm_id: state.best[0].config.config_id for arm_id, state in arms if state.best}
        self.record.arms(self.queue, chosen, self._earlier)
        seconds = self.searcher.meter.spent().seconds
        self.record.study_row(started_at=self.started_at, seconds=seconds, complete=complete, command=typed_command())

    def begin(self, *, say: bool = True) -> None:
        """Take over what other studies have completed, as far as no result decides on it, and say what there is to do.

        Raises `StorageRefused` if a row could not be written, `UsageError` for a first rung that the record refutes.
        """
        if any(plan.trial_key in self._others for plan in self.queue.ahead()):
            self._write_study(complete=False)
        while any([self.searcher.take(plan) for plan in self.queue.ahead() if plan.trial_key in self._others]):
            pass  # with the start taken over, the trials of the arms are known
        if self.searcher.refused:
            raise self.searcher.refused
        for line in standing_of(expected(self.queue), self.recorded).lines() if say else ():
            self.say(line)
        self._rung_check.begin()
        if self.searcher.refused:
            raise self.searcher.refused

    def run(
        self, given: Resources, backend: str, display: Callable[[Any, Resources], Any] | None, stops: Stops
    ) -> None:
        """Run the missing trials under the display; the first Ctrl-C stops cleanly, with all rows written."""
        self._write_study(complete=False)
        if unknown := self.record.costs():
            self.say(unknown)
        self._patience.landmark = study_file(self.results, self.study.name)

        def stop() -> None:
            self.searcher.stop()
            self._hurry()

        try:
            with nullcontext() if display is None else display(self.searcher, given):
                stops.clean = stop
                self._fit(given, backend)
        finally:
            stops.clean = None
            if stops.asked:
                self.searcher.stop()
            self.searcher.interrupt()

    def _fit(self, given: Resources, backend: str) -> None:
        """Run all stages in one Tune run, so that worker processes are started once."""
        scheduler = self.scheduler()
        self.searcher.meter.gpus = given.gpus
        context, held = self.context(given, backend), {"cpu": given.cpus, "gpu": given.gpus}
        if given.workers > 1:
            context, held = replace(context, works=ray.put(self.works)), bundles(given)
        trainable = tune.with_resources(tune.with_parameters(StudyTrial, works=self.works, context=context), held)
        while not self._tune(trainable, scheduler, given):
            pass

    def context(self, given: Resources, backend: str) -> TrialContext:
        """Return the settings of all trials of this run."""
        refused = [start for start in self.queue.starts if not start.known and self.queue.recorded_start(start)]
        return TrialContext(
            results=self.results,
            study_id=self.study.name,
            init_path=self._init_path,
            starts=self._starts,
            advice=AGAIN if self._starts or self.study.training.weights else BRING_BACK,
            given=given,
            backend=backend,
            versions=library_versions(),
            code=self.code,
            patience_s=self._patience.seconds,
            objective=self.queue.objective,
            attempts=self.record.last_attempts(plan.trial_key for plan in self.queue.to_go_on()),
            kept_stages=self.study.kept_stages,
            anew=frozenset(start.plan.trial_key for start in refused if start.plan),
        )

    def scheduler(self) -> StudyScheduler:
        """Finish what earlier runs have left, and make the scheduler with the rungs of all recorded trials."""
        resume.finish_rows(self.queue, self.record)
        folder = table_folder(self.results, "checkpoints", self.study.name)
        left = self._patience.read(lambda: {one.name for one in folder.glob("*")})
        resume.forget_checkpoints(self.queue, self.record, left)
        scheduler = StudyScheduler(self.study, self.searcher.decided, self.searcher.warm_ups.over)
        resume.refill(scheduler, self.queue, self.record)

        def opened(arms: list[ArmState]) -> None:
            # Of a start that was made again: its arms have recorded trials.
            resume.finish_rows(self.queue, self.record, arms)
            resume.refill(scheduler, self.queue, self.record, arms)

        self.queue.on_open = opened
        self.searcher.on_loss = partial(resume.judge_lost, scheduler, self.queue, self.record)
        self._take_over.stops = lambda plan, *value: scheduler.judge(plan.arm_id, plan.trial_key, [value])
        return scheduler

    def _tune(self, trainable: Any, scheduler: StudyScheduler, given: Resources) -> bool:
        """Run Tune; False if it has given up all trials, which need another Tune run.

        It does so at errors of Ray that it does not expect, such as a process that Ray's memory monitor has killed.
        """
        room_now = partial(room, given.cpus, given.gpus)
        self.searcher.warm_ups.begin(room_now(), given.limit)
        reports = Reports(self.searcher, room_now, self.say)
        with tuner(trainable, self.searcher, scheduler, reports, given.limit) as ready:
            self._fitting = True
            try:
                ready.fit()
            except RuntimeError as error:
                if not isinstance(error.__cause__, RayError):
                    raise
                self.searcher.all_lost(str(error.__cause__))
                return self.searcher.stopped or self.searcher.refused is not None
            finally:
                self._fitting = False
        return True

    def lost(self, why: str) -> None:
        """Stop without another write, because another driver has taken the study over."""
        error = StorageRefused(f"Stopped: {why}.")
        self.record.refuse(error)
        self.searcher.give_up(error)

    def _refuse(self, error: UsageError) -> None:
        """Start no more trials; those that run come to their end, and the run ends with this error."""
        self.searcher.refused = self.searcher.refused or error
        self.queue.closed = True

    def _hurry(self) -> None:
        """End the Tune run after its current step, and wait for storage no more."""
        self._patience.spent = True
        if self._fitting:
            os.kill(os.getpid(), signal.SIGUSR1)

    def close(self) -> None:
        """Write the study's last row; raise the error with which the study could not go on, if there is one."""
        if self.searcher.refused:
            raise self.searcher.refused
        self._write_study(complete=self.complete)
        if found := choices_of_search(self.queue):
            self.record.costs(found)
        if self.queue.failure:
            raise TooManyFailures(f"{self.queue.failure}\nNothing recorded is lost: fix the cause and run again.")

    @property
    def complete(self) -> bool:
        """Whether every planned trial has ended."""
        return self.queue.open and not self.queue.live and not self.queue.left()

    def outcome(self) -> Outcome:
        by = USER if self.searcher.stopped else BUDGET if self.searcher.reached else None
        spent = self.searcher.meter.spent()
        return Outcome(
            study_id=self.study.name,
            results=self.results,
            complete=self.complete,
            stopped_by=None if self.complete else by,
            seconds=spent.seconds,
            budget=self.searcher.reached if by == BUDGET and not self.complete else None,
            spent=spent,
            left=self.queue.remaining(),
        )
