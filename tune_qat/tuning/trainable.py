"""Trainable of Ray Tune: a trial that starts or resumes, trains, and writes each epoch before it is reported."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

from ray import tune

from tune_qat.config import EAGER, StudyHalted, TuneQatError
from tune_qat.config.statuses import (
    CALIBRATED,
    COMPLETED,
    ERROR,
    INTERRUPTED,
    OOM,
    RETRAIN,
    RUNNING,
)
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read, study_file
from tune_qat.results.publishable import publishable
from tune_qat.results.reader import last_epochs
from tune_qat.results.repair import set_aside
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Patience, Read
from tune_qat.training.host_memory import keep_freed, resident_mb, restart_peak
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.nodes import check_versions_here
from tune_qat.tuning.gpu.memory_share import memory_share
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import WARM_UP, DataDraws, PlannedTrial
from tune_qat.tuning.process_failures import is_out_of_memory
from tune_qat.tuning.ray_report import pack
from tune_qat.tuning.team import Team
from tune_qat.tuning.trial_context import TrialContext

WARM_UP_PAUSE_S = 0.2


class StudyTrial(tune.Trainable):
    """Trial of a study: an epoch is a step, and one trial follows another in the same process.

    It is a class because Ray lets a function train on while it decides: a stopped trial is then still busy when the
    next one should take over its process, and Ray gives both up.
    """

    def setup(self, config: dict[str, Any], works: DataDraws[Workload], context: TrialContext) -> None:  # type: ignore[override]
        """Start the first trial of a process; `works` and `context` come from `tune.with_parameters`."""
        # Otherwise Inductor starts a process for each core, and all cores belong to trials.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        keep_freed()
        self._works, self._context = works, context
        self._tasks: dict[str, Any] = {}
        self._frozen = False
        self._team: Team | None = None
        self._reports = self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._reports = self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch. A failure of the trial is a result, never a failure of the study."""
        try:
            report = next(self._reports)
        except StudyHalted as error:
            # Not the trial's fault, and no other trial would fare better: the next run resumes it.
            report = self._failed(INTERRUPTED, error, str(error))
        except Exception as error:
            # A bug in a model or dataset ends this trial only; the traceback goes into the record.
            # Here and not only there: Ray writes reports down, too.
            text = publishable("".join(traceback.format_exception(error)))[-4000:]
            report = self._failed(OOM if is_out_of_memory(error) else ERROR, error, text)
        return pack(report)

    def _failed(self, status: str, error: Exception, text: str) -> dict[str, Any]:
        if self._team is not None:  # its workers may be in the middle of a sum
            team, self._team = self._team, None
            team.end()
        why = {"status": status, "error_type": type(error).__name__, "error_text": text}
        return {**self._about, **why, OBJECTIVE: self._context.objective.of(None)}

    def cleanup(self) -> None:
        """Release the memory of the trial."""
        from tune_qat.training.device import release_memory

        self._reports.close()
        release_memory(self._context.given.device)
        if not self._frozen:
            # All libraries are loaded by now: later collections skip their objects.
            gc.freeze()
            self._frozen = True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Return nothing: our own checkpoint is written before an epoch is reported."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing: a resumed trial finds its own checkpoint."""

    def _begin(self, config: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        self._about: dict[str, Any] = {}
        if config["stage"] == WARM_UP:
            return _warm_up(self._context)
        plan = PlannedTrial.from_json(config["plan"])
        work = self._works.of(plan.config.dataset_options)
        task = partial(self._shared_task, work)
        if plan.stage == CALIBRATED:
            return _calibrated(plan, work, task, self._context, self._about)
        several = self._context.given.workers > 1 and plan.config.worsening is None
        return _epochs(plan, work, task, self._context, self._about, self._met if several else None)

    def _met(self) -> Team:
        """Return the other workers of this process, started for its first trial."""
        self._team = self._team or Team(self._context)
        return self._team

    def _shared_task(self, work: Workload) -> Any:
        """Load data once for all trials of the process; inside the first one, so that an error ends a trial."""
        split = work.dataset.split_fingerprint
        if split not in self._tasks:
            self._tasks[split] = work.task(self._context.given.device)
        return self._tasks[split]


def _epochs(
    plan: PlannedTrial,
    work: Workload,
    task: Callable[[], Any],
    context: TrialContext,
    about: dict[str, Any],
    team: Callable[[], Team] | None,
) -> Generator[dict[str, Any], None, None]:
    """Yield a report for each epoch of a trial; `about` collects the columns that a failure reports as well."""
    from tune_qat.results.writer import EpochLog
    from tune_qat.training.checkpoints import save_checkpoint
    from tune_qat.training.device import peak_memory_mb, thread_count

    check_versions_here(context.versions)
    about.update(context.code.opened())
    restart_peak()
    about["start_memory_mb"], given = resident_mb(), context.given
    landmark = study_file(context.results, context.study_id)
    patience = Patience(context.results, context.patience_s, landmark=landmark)
    path, write = checkpoint_path(context.results, context.study_id, plan.trial_key), patience.write_whole
    earlier = context.attempts.get(plan.trial_key, 0)
    log = patience.read(lambda: EpochLog(context.results, context.study_id, plan.trial_key, write, earlier=earlier))
    with thread_count(given.threads), memory_share(given.device, given.gpus):
        about.update(_about(given.device, context.study_id, given.workers if team else 1))
        others = team() if team else None
        training = _started(plan, work, task, context, about, patience.read, others)
        if training.epoch == 0:
            patience.read(log.forget_earlier)
        if training.status != RUNNING:
            # The trial ended before its row was written: nothing is left to train, and the record has every epoch.
            if plan.stage in context.kept_stages and not path.exists():
                # It was read from where an earlier version kept it.
                save_checkpoint(training.state_dict(), path, write)
            ended = {"epoch": training.epoch, "status": training.status, OBJECTIVE: context.objective.of(None)}
            yield {**about, **ended, **_kept(training, plan, context)}
        results = training.epochs(test=plan.stage == RETRAIN)
        for result in others.epochs(results) if others and training.status == RUNNING else results:
            # The record first, so that no checkpoint is ahead of it.
            log.append(result)
            if result.status == RUNNING or plan.stage in context.kept_stages:
                # An ended trial needs no checkpoint: its last epoch in the record says how it ended.
                save_checkpoint(training.state_dict(), path, write)
            of_epoch = {"peak_memory_mb": peak_memory_mb(given.device), "backend": training.backend}
            of_epoch["remark"] = training.remark
            of_epoch |= {name: getattr(result, name) for name in ("epoch", "status", "val_metric")}
            of_epoch |= _kept(training, plan, context)
            yield {**about, **of_epoch, OBJECTIVE: context.objective.of(result.val_metric)}


def _calibrated(
    plan: PlannedTrial, work: Workload, task: Callable[[], Any], context: TrialContext, about: dict[str, Any]
) -> Generator[dict[str, Any], None, None]:
    """Yield the one report of a model that is calibrated and not trained: no epoch, and no checkpoint."""
    from tune_qat.training.calibrated import evaluate_calibrated
    from tune_qat.training.device import peak_memory_mb, thread_count

    check_versions_here(context.versions)
    about.update(context.code.opened())
    restart_peak()
    about["start_memory_mb"], given = resident_mb(), context.given
    patience = Patience(context.results, context.patience_s, landmark=study_file(context.results, context.study_id))
    with thread_count(given.threads), memory_share(given.device, given.gpus):
        about.update(_about(given.device, context.study_id))
        init, data = _checked_start(plan, context, patience.read), task()
        assert init is not None  # a study without a start has no such trial
        found = patience.read(lambda: evaluate_calibrated(plan.config, work, device=given.device, init=init, task=data))
        of_epoch = {"peak_memory_mb": peak_memory_mb(given.device), "backend": EAGER, "remark": "", **found}
        yield {**about, **of_epoch, OBJECTIVE: context.objective.of(found.get("val_metric"))}


def _checked_start(plan: PlannedTrial, context: TrialContext, read: Read) -> StoragePath | None:
    """Return the checkpoint that a trial begins from, which holds the weights of its plan; None from scratch."""
    from tune_qat.training.checkpoints import check_start

    init = context.start(plan)
    if init is not None:
        read(partial(check_start, init, plan.init_checkpoint_sha256, context.advice))
    return init


def _started(
    plan: PlannedTrial,
    work: Workload,
    task: Callable[[], Any],
    context: TrialContext,
    about: dict[str, Any],
    read: Read,
    team: Team | None = None,
) -> Any:
    """Return the training of a trial, at the epoch of its checkpoint if there is a sound one; that of its team, too."""
    from tune_qat.training.worsened import trial_of

    path = own = checkpoint_path(context.results, context.study_id, plan.trial_key)
    if plan.trial_key not in context.anew:
        path = read(partial(checkpoint_to_read, context.results, context.study_id, plan.trial_key))
    init = _checked_start(plan, context, read)

    def begin() -> Any:
        data, device = task(), context.given.device  # the files of the data are another storage's
        how = {"device": device, "init": init, "task": data, "backend": context.backend}
        if team is not None:
            return team.begin(plan, init, lambda workers: trial_of(plan.config, work, workers=workers, **how))
        return read(lambda: trial_of(plan.config, work, **how))

    training = begin()
    if read(path.exists):
        try:
            _go_on(training, path, plan, context, read)
        except StudyHalted:
            raise
        except (TuneQatError, RuntimeError, KeyError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            if path == own:  # one that an earlier version wrote may be another study's, and stays
                aside = read(partial(set_aside, context.results, path))
                about["set_aside"] = f"{error} It is set aside in {aside}."
            training = begin()
    if team is not None:
        team.share(training)
    return training


def _kept(training: Any, plan: PlannedTrial, context: TrialContext) -> dict[str, Any]:
    """Return the column that a completed trial whose checkpoint is kept reports: the hash of what that holds."""
    from tune_qat.training.checkpoints import trained_sha256

    if training.status != COMPLETED or plan.stage not in context.kept_stages:
        return {}
    return {"checkpoint_sha256": trained_sha256(training.state_dict(), plan.stage)}


def _go_on(training: Any, path: StoragePath, plan: PlannedTrial, context: TrialContext, read: Read) -> None:
    """Load the trial's checkpoint; raise an error if it is damaged, or ahead of the recorded epochs."""
    from tune_qat.training.checkpoints import load_checkpoint

    training.load_state_dict(read(partial(load_checkpoint, path)))
    rows = read(partial(last_epochs, context.results, context.study_id, plan.trial_key))
    recorded = {row["epoch"] for row in rows}
    if not recorded.issuperset(range(1, training.epoch + 1)):
        raise TuneQatError(f"Checkpoint {path} is at epoch {training.epoch}, but the record lacks epochs up to it.")


def _warm_up(context: TrialContext) -> Generator[dict[str, Any], None, None]:
    """Load the libraries of a trial, and keep the process until the scheduler stops it."""
    import tune_qat.training.loop  # noqa: F401

    while True:
        yield {"status": RUNNING, OBJECTIVE: context.objective.of(None)}
        time.sleep(WARM_UP_PAUSE_S)


def _about(device: str, study_id: str, workers: int = 1) -> dict[str, Any]:
    import torch

    from tune_qat.results.provenance import host_hash
    from tune_qat.training.compiler import set_precision
    from tune_qat.training.device import hardware

    return {
        "host_hash": host_hash(study_id),
        "threads": torch.get_num_threads(),
        "workers": workers,
        "precision": set_precision(device),
        **hardware(device),
    }
