"""Choice of a Ray Tune experiment's metric among its reported values, and of the direction that is better."""

import re
from collections.abc import Sequence
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import listed
from tune_qat.importing.found import is_number

_OF_RAY = {
    *("timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s"),
    *("time_total_s", "pid", "hostname", "node_ip", "time_since_restore", "iterations_since_restore", "warmup_time"),
    *("timesteps_total", "episodes_total", "timesteps_since_restore", "experiment_id", "experiment_tag"),
    *("should_checkpoint", "epoch", "step"),
}
_LARGER = {"acc", "accuracy", "psnr", "ssim", "f1", "auc", "auroc", "top1", "top5", "iou", "miou", "map", "reward"}
_SMALLER = {"loss", "error", "err", "rmse", "mse", "mae", "perplexity", "ppl", "nll"}


def find_metric(wanted: str | None, named: Any, trials: Sequence[Any], reported: Sequence[str]) -> str:
    """Return the metric that the user wants, else the one that the experiment names, else the only reported number.

    Raises:
        UsageError: the wanted one was not reported, or several numbers were and nothing says which is the metric.
    """
    numbers = [
        name
        for name in reported
        if name not in _OF_RAY
        and not name.startswith("config/")
        and any(is_number(result.get(name)) for trial in trials for result in trial.results)
    ]
    known = listed(numbers) or "none"
    metric = wanted or (named if named in numbers else None) or (numbers[0] if len(numbers) == 1 else None)
    if metric is None:
        raise UsageError(f"Which reported value is the metric? Name it with --metric. Reported: {known}.")
    if metric not in numbers:
        raise UsageError(
            f"No trial reports {metric!r} as a number (--metric).{did_you_mean(metric, numbers)} Reported: {known}."
        )
    return metric


def find_sign(metric: str, mode: str | None) -> int:
    """Return 1 where larger is better, -1 where smaller is: from `mode`, else from the words of the metric's name.

    Raises `UsageError` if mode is neither `max` nor `min`, or the name has no known word (or words for both).
    """
    if mode not in (None, "max", "min"):
        raise UsageError(f"--mode must be max or min, but got {mode!r}.")
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    larger, smaller = bool(words & _LARGER), bool(words & _SMALLER)
    if mode is None and larger == smaller:
        raise UsageError(
            f"Is a larger or a smaller {metric!r} better? Its name does not say: give --mode max or --mode min."
        )
    return 1 if (mode == "max" if mode else larger) else -1
