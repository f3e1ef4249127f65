"""Evaluation of a model that is quantized and calibrated, and not trained."""

import math
from typing import Any

from tune_qat.config import TrialConfig
from tune_qat.config.statuses import COMPLETED, DIVERGED
from tune_qat.data.task import Task
from tune_qat.storage.paths import StoragePath
from tune_qat.training.device import device_clock
from tune_qat.training.loop import Training
from tune_qat.training.scores import known, tested_columns
from tune_qat.training.workload import Workload


def evaluate_calibrated(
    config: TrialConfig, work: Workload, *, device: str, init: StoragePath | None, task: Task
) -> dict[str, Any]:
    """Build, start, quantize and calibrate a model as a trial of this configuration does, and evaluate it.

    Returns the columns of the trial's row: `val_metric` is the `calibrated_metric` of every trial that begins with this
    model, and the test split is evaluated, too. A metric that is not finite counts as diverged, with neither.

    Raises the errors of `Training`.
    """
    training = Training(config, work, device=device, init=init, task=task)
    held = device_clock(training.device)
    val = training.evaluate("val")
    if not math.isfinite(val.metric):
        return {"status": DIVERGED, "device_s": device_clock(training.device) - held}
    return {
        "status": COMPLETED,
        "val_loss": known(val.loss),
        "val_metric": val.metric,
        "val_top5": known(val.top5),
        "calibrated_metric": val.metric,
        **tested_columns(training.evaluate("test")),
        "device_s": device_clock(training.device) - held,
    }
