"""One run of one study: its queue, its record and its Tune run."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray import tune

from tune_qat.config import StorageRefused, TooManyFailures, TuneQatError
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.patience import Patience
from tune_qat.results.place import Place
from tune_qat.results.reader import last_epochs, read_folder, while_compacted
from tune_qat.results.repair import set_aside
from tune_qat.study import Study
from tune_qat.tuning import resume
from tune_qat.tuning.cluster import Resources
from tune_qat.tuning.engine import Reports, StudySearcher
from tune_qat.tuning.plan import Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record, now
from tune_qat.tuning.schedule import StudyScheduler
from tune_qat.tuning.trial import StudyTrial, TrialContext
from tune_qat.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run of a study ended."""

    study_id: str
    results: Place
    complete: bool
    stopped_by: str | None
    """user or budget, where it ended before its plan."""
    seconds: float


class Session:
    """One run of one study on a connected cluster."""

    def __init__(
        self,
        study: Study,
        work: Workload,
        results: Place,
        recorded: list[dict[str, Any]],
        deadline: float | None,
        patience: Patience,
    ) -> None:
        self.study, self.work, self.results = study, work, results
        task = work.task()
        self.sign, self.worst_metric = task.sign, task.worst_metric
        points = {**work.reference_points(), "unit": task.unit}
        self.record = Record(results, study, work, points, task.sign, patience.write_whole)
        self._patience = patience
        self.started_at = now()
        self._recorded = recorded
        self._init_path = study.training.init_path
        init_sha256 = _weights_hash(self._init_path) if self._init_path else None
        self.queue = StudyQueue(
            Planner(study=study, work=work),
            recorded,
            sign=task.sign,
            worst_metric=task.worst_metric,
            init_sha256=init_sha256,
        )
        self.searcher = StudySearcher(self.queue, self.record, deadline=deadline)
        self.searcher.say = patience.say
        self.stopped = False
        self._fitting = False
        self._start_known()

    def write_study(self, complete: bool) -> None:
        best = {arm_id: self.queue.best(state) for arm_id, state in self.queue.arms.items()}
        chosen = {arm_id: found[0].config.config_id for arm_id, found in best.items() if found}
        self.record.arms(self.study.arms(), chosen, self.queue.init_sha256)
        self.record.study_row(started_at=self.started_at, complete=complete, command=" ".join(sys.argv))

    @contextmanager
    def running(self, given: Resources, display: Callable[[Any, Resources], Any] | None) -> Iterator[None]:
        """The record opened, the display shown, and Ctrl-C turned into a clean stop."""
        self.write_study(complete=False)
        before = signal.getsignal(signal.SIGINT)

        def stop(number: int, frame: Any) -> None:
            self.stopped = True
            self.queue.closed = True
            # A second Ctrl-C is not caught any more; this signal ends Ray Tune's loop after the step it is in.
            signal.signal(signal.SIGINT, before)
            os.kill(os.getpid(), signal.SIGUSR1)

        signal.signal(signal.SIGINT, stop)
        try:
            if display is None:
                yield
            else:
                with display(self.searcher, given):
                    yield
        finally:
            signal.signal(signal.SIGINT, before)
            self.searcher.interrupt()

    def fit(self, given: Resources, device: str, backend: str) -> None:
        """All stages in one Tune run, so that worker processes are started once."""
        self._finish_rows()
        pretrain = self.queue.pretrain
        init = str(checkpoint_path(self.results, pretrain.trial_key)) if pretrain else self._init_path
        context = TrialContext(
            results=str(self.results),
            study_id=self.study.name,
            init_path=init,
            threads=given.threads,
            device=device,
            backend=backend,
            patience_s=self._patience.seconds,
            sign=self.sign,
            worst_metric=self.worst_metric,
        )
        history = resume.history(self.queue, self._searched_epochs)
        scheduler = StudyScheduler(self.study, self.study.arms(), history, self.searcher.decided, self.searcher.warm)
        self.searcher.warm_up(given.concurrent)
        resume.refill(scheduler, self.queue)
        trainable = tune.with_resources(
            tune.with_parameters(StudyTrial, work=self.work, context=context),
            {"cpu": given.cpus, "gpu": given.gpus},
        )
        with tempfile.TemporaryDirectory(prefix="tune_qat-") as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=self.searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    # Without a limit Ray asks for one trial ahead, which its cache of processes needs: it keeps a
                    # process only for a trial that is waiting for one.
                    max_concurrent_trials=given.concurrent if given.limited else None,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="study",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=3),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    callbacks=[Reports(self.searcher)],
                ),
            )
            self._fitting = True
            try:
                tuner.fit()
            finally:
                self._fitting = False

    def lost(self, why: str) -> None:
        """Another driver has taken the study over: stop, and write nothing more."""
        error = StorageRefused(f"Stopped: {why}.")

        def refuse(path: Place, data: bytes | memoryview) -> None:
            raise error

        self.record.write = refuse
        self.searcher.give_up(error)
        if self._fitting:
            os.kill(os.getpid(), signal.SIGUSR1)

    def close(self) -> None:
        """The last word in the record; `TooManyFailures` or `StorageRefused` if the study could not go on."""
        if self.searcher.refused:
            raise self.searcher.refused
        self.write_study(complete=self.complete)
        if self.queue.failure:
            raise TooManyFailures(f"{self.queue.failure}\nNothing recorded is lost: mend the cause and run again.")

    @property
    def complete(self) -> bool:
        """Whether every planned trial has ended."""
        return bool(self.queue.arms) and not self.queue.live and not self.queue.left()

    def outcome(self, seconds: float) -> Outcome:
        by = "user" if self.stopped else "budget" if self.searcher.out_of_time else None
        return Outcome(
            study_id=self.study.name,
            results=self.results,
            complete=self.complete,
            stopped_by=None if self.complete else by,
            seconds=seconds,
        )

    def _start_known(self) -> None:
        """Open the arms if the pretrained start is in the record and its checkpoint is what the record says."""
        row = resume.recorded_start(self.queue, self._recorded)
        if row is None:
            return
        path = checkpoint_path(self.results, row["trial_key"])
        try:
            known = path.exists() and _weights_hash(str(path)) == row["checkpoint_sha256"]
        except TuneQatError as error:
            self._patience.say(f"{error} It is set aside in {set_aside(self.results, path)}.")
            return
        if known:
            self.queue.start_known(row["checkpoint_sha256"])

    def _finish_rows(self) -> None:
        def last_status(trial_key: str) -> str | None:
            epochs = last_epochs(self.results, self.study.name, trial_key)
            return epochs[-1]["status"] if epochs else None

        resume.finish_rows(self.queue, last_status, lambda plan, status: self.record.ended(plan, {}, status, None))

    def _searched_epochs(self) -> Iterable[tuple[str, int, float | None]]:
        """Trial, epoch and metric of every recorded epoch, in the order of their attempts."""
        folder = table_folder(self.results, "epochs", self.study.name)
        epochs = while_compacted(partial(read_folder, folder, "epochs", columns=("epoch", "val_metric")))
        ordered = epochs.sort_by("attempt").select(["trial_key", "epoch", "val_metric"])
        return zip(*(column.to_pylist() for column in ordered.columns), strict=True)


def _weights_hash(path: str) -> str:
    from tune_qat.checkpoints import load_weights, weights_sha256

    return weights_sha256(load_weights(path))
