"""A trial inside Ray Tune: go on from the record, train, and write each epoch before it is reported."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from tune_qat.config import EpochResult, StorageRefused, TuneQatError
from tune_qat.config.statuses import ERROR, INTERRUPTED, KEPT_STAGES, OOM, PRETRAIN, RETRAIN, RUNNING
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import last_epochs
from tune_qat.results.repair import set_aside
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Patience
from tune_qat.training.host_memory import keep_freed, resident_mb, restart_peak
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.nodes import OtherVersions, check_own
from tune_qat.tuning.gpu.memory_share import memory_share
from tune_qat.tuning.objective import OBJECTIVE, Objective
from tune_qat.tuning.plan import WARM_UP, Plan
from tune_qat.tuning.process_failures import is_out_of_memory
from tune_qat.tuning.ray_report import pack

WARM_UP_PAUSE_S = 0.2


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What all trials of a study share on a worker."""

    results: StoragePath
    study_id: str
    init_path: StoragePath | None
    """Starting checkpoint; None from scratch."""
    threads: int
    device: str
    gpus: float
    backend: str
    versions: Mapping[str, str | None]
    """Of the libraries that every node must have alike."""
    patience_s: float
    """Seconds for which refused writes are tried again."""
    objective: Objective


class StudyTrial(tune.Trainable):
    """What Ray Tune runs: an epoch a step, one trial after another in the same process.

    A class and not a function: Ray lets a function train on while it decides, so that a trial that is stopped is still
    busy when the next one should take over its process, and Ray gives both up.
    """

    def setup(self, config: dict[str, Any], work: Workload, context: TrialContext) -> None:  # type: ignore[override]
        """The first trial of a process; `work` and `context` come from `tune.with_parameters`."""
        # Inductor would start a process for each core, beside the trials that have the cores.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        keep_freed()
        self._work, self._context = work, context
        self._task: Any = None
        self._frozen = False
        self._reports = self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process."""
        self.cleanup()
        self._reports = self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One epoch. A failure of the trial is a result, never a failure of the study."""
        try:
            report = next(self._reports)
        except (StorageRefused, OtherVersions) as error:
            # Not the trial's fault: it goes on with the next run.
            failed = {**_failed(INTERRUPTED, error, self._context), "error_text": str(error)}
            report = {**self._about, **failed}
        except Exception as error:
            # A bug in a model or dataset ends this trial only; the traceback goes into the record.
            status = OOM if is_out_of_memory(error) else ERROR
            report = {**self._about, **_failed(status, error, self._context)}
        return pack(report)

    def cleanup(self) -> None:
        """Give back what the trial held."""
        from tune_qat.training.device import release_memory

        self._reports.close()
        release_memory(self._context.device)
        if not self._frozen:
            # Libraries are loaded by now; later collections need not look at them again.
            gc.freeze()
            self._frozen = True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: our own checkpoint is written before an epoch is reported."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: a trial that goes on finds its own checkpoint."""

    def _begin(self, config: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        self._about: dict[str, Any] = {}
        if config["stage"] == WARM_UP:
            return _warm_up(self._context)
        return _epochs(Plan.from_json(config["plan"]), self._work, self._shared_task, self._context, self._about)

    def _shared_task(self) -> Any:
        """The data, once for all trials of the process; made in the first one, so that it is the trial that fails."""
        if self._task is None:
            self._task = self._work.task(self._context.device)
        return self._task


def _epochs(
    plan: Plan, work: Workload, task: Callable[[], Any], context: TrialContext, about: dict[str, Any]
) -> Generator[dict[str, Any], None, None]:
    """Reports of a trial's epochs; `about` is filled with what each of them says, and an error's report as well."""
    from tune_qat.results.writer import EpochLog
    from tune_qat.training.checkpoints import save_checkpoint
    from tune_qat.training.device import peak_memory_mb, thread_count
    from tune_qat.training.loop import Training

    check_own(context.versions)
    restart_peak()
    about["start_memory_mb"] = resident_mb()
    write = Patience(context.results, context.patience_s).write_whole
    path = checkpoint_path(context.results, plan.trial_key)
    log = EpochLog(context.results, context.study_id, plan.trial_key, write)

    def begin() -> Training:
        init = None if plan.stage == PRETRAIN else context.init_path
        return Training(plan.config, work, device=context.device, init=init, task=task(), backend=context.backend)

    with thread_count(context.threads), memory_share(context.device, context.gpus):
        about.update(_about(context))
        training = begin()
        if path.exists():
            try:
                _go_on(training, plan, context)
            except (TuneQatError, RuntimeError, KeyError, TypeError, ValueError) as error:
                if is_out_of_memory(error):
                    raise
                about["set_aside"] = f"{error} It is set aside in {set_aside(context.results, path)}."
                training = begin()
        if training.epoch == 0:
            log.forget_earlier()
        if training.status != "running":
            # It ended before its row was written: nothing to train, the record has every epoch.
            yield {**about, "epoch": training.epoch, "status": training.status, OBJECTIVE: context.objective.of(None)}
        for result in training.epochs(test=plan.stage == RETRAIN):
            # The record first: no checkpoint is ever ahead of it.
            log.append(result)
            if result.status == RUNNING or plan.stage in KEPT_STAGES:
                # At its end a trial has nothing to go on with: its epochs say how it ended.
                save_checkpoint(training.state_dict(), path, write)
            memory = {"peak_memory_mb": peak_memory_mb(context.device)}
            yield {**about, **memory, "backend": training.backend, **_report(result, context)}


def _go_on(training: Any, plan: Plan, context: TrialContext) -> None:
    """From the trial's checkpoint; an error where it is damaged, or the record lacks epochs that lie behind it."""
    from tune_qat.training.checkpoints import load_checkpoint

    path = checkpoint_path(context.results, plan.trial_key)
    training.load_state_dict(load_checkpoint(path))
    recorded = {row["epoch"] for row in last_epochs(context.results, context.study_id, plan.trial_key)}
    if not recorded.issuperset(range(1, training.epoch + 1)):
        raise TuneQatError(f"Checkpoint {path} is at epoch {training.epoch}, which the record does not lead up to.")


def _warm_up(context: TrialContext) -> Generator[dict[str, Any], None, None]:
    """Load what a trial needs and keep the process; ends when the scheduler says so."""
    import tune_qat.training.loop  # noqa: F401

    while True:
        yield {"status": RUNNING, OBJECTIVE: context.objective.of(None)}
        time.sleep(WARM_UP_PAUSE_S)


def _report(result: EpochResult, context: TrialContext) -> dict[str, Any]:
    values = {name: getattr(result, name) for name in ("epoch", "status", "val_metric")}
    return {**values, OBJECTIVE: context.objective.of(result.val_metric)}


def _failed(status: str, error: BaseException, context: TrialContext) -> dict[str, Any]:
    text = "".join(traceback.format_exception(error))
    return {
        "status": status,
        "error_type": type(error).__name__,
        "error_text": text[-4000:],
        OBJECTIVE: context.objective.of(None),
    }


def _about(context: TrialContext) -> dict[str, Any]:
    import torch

    from tune_qat.results.provenance import host_hash
    from tune_qat.training.compiler import set_precision
    from tune_qat.training.device import hardware

    return {
        "host_hash": host_hash(),
        "threads": torch.get_num_threads(),
        "precision": set_precision(context.device),
        **hardware(context.device),
    }
