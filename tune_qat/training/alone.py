"""Training of one configuration by itself, outside a study."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tune_qat.config import AUTO, EpochResult, TrialConfig, UsageError
from tune_qat.config.statuses import COMPLETED
from tune_qat.storage.paths import StoragePath
from tune_qat.training import workload
from tune_qat.training.checkpoints import save_trained
from tune_qat.training.compiler import set_precision
from tune_qat.training.device import default_device, thread_count
from tune_qat.training.host_memory import keep_freed
from tune_qat.training.loop import Training
from tune_qat.training.weights.start import starting


def train(
    config: TrialConfig,
    *,
    data_dir: str | Path | None = None,
    init: str | StoragePath | None = None,
    device: str | None = None,
    threads: int = 1,
    test: bool = False,
    backend: str = AUTO,
    weights: str | None = None,
    say: Callable[[str], Any] = lambda text: None,
    save: str | Path | None = None,
) -> Iterator[EpochResult]:
    """Train one configuration and yield the result of each epoch, with the same numbers as inside a study.

    Args:
        config: configuration of the trial.
        data_dir: folder of the data; `TUNE_QAT_DATA` where it is None.
        init: checkpoint with floating-point weights to start from; None starts from scratch.
        device: torch device; None takes a GPU if there is one.
        threads: CPU threads while this runs.
        test: evaluate the test split after the last epoch.
        backend: eager, inductor (compiled), or auto: inductor if compiling pays for this trial alone.
        weights: weights from elsewhere in place of `init`: a file, `timm` or `torchvision`; `say` is told what loaded.
        save: file for the trained model, written behind the last epoch; not of a trial that diverged.

    Raises `TuneQatError` if data or checkpoint is missing or damaged, or the configuration does not fit the data.
    """
    work = workload.of_trial(config, data_dir=data_dir)
    if test and "test" not in work.dataset.splits:
        raise UsageError(f"Dataset {config.dataset!r} has no test split to evaluate (test, --test).")
    device = device or default_device()
    keep_freed()
    set_precision(device)
    with thread_count(threads):
        with starting(work, config.init_seed, init=init, weights=weights, say=say) as start:
            training = Training(config, work, device=device, init=start, backend=backend)
        warn = logging.getLogger(__name__).warning
        if training.why_not_compiled:
            warn("No compiler works here (%s): training runs eagerly.", training.why_not_compiled)
        for result in training.epochs(test=test):
            if training.remark and result.epoch == 1:
                warn(training.remark)
            if save is not None and training.status == COMPLETED:
                save_trained(training.state_dict(), config, Path(save))
            yield result
