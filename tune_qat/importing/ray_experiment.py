"""Import from a Ray Tune experiment's folder, out of its JSON and CSV files alone.

Ray's own readers (`Tuner.restore`, `ExperimentAnalysis`) unpickle parts of these files, and so run code of whoever
wrote them.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import shown
from tune_qat.config.statuses import COMPLETED, DIVERGED, ERROR, INTERRUPTED, SCHEDULER, STOPPED, WITH_METRIC
from tune_qat.importing.found import FoundStudy, FoundTrial, finite, is_number
from tune_qat.importing.ray_files import ITERATION, RayTrial, read_files
from tune_qat.importing.ray_metric import find_metric, find_sign


def read(
    folder: str | Path, metric: str | None = None, mode: str | None = None, epoch: str | None = None
) -> FoundStudy:
    """Read an experiment from its folder, as `RunConfig(storage_path=..., name=...)` made it.

    Args:
        folder: `storage_path/name`, with `experiment_state-*.json` and a folder for each trial.
        metric: reported value that trials are judged by; None for the one that the experiment names.
        mode: `max` or `min`; None to guess it from the metric's name.
        epoch: reported value that counts epochs; None for Ray's `training_iteration`.

    Raises:
        TuneQatError: no such folder, no experiment in it, or a damaged file; the message names it.
        UsageError: metric or epoch was not reported, or metric or mode is not given and cannot be guessed.
    """
    root = Path(folder)
    files = read_files(root)
    trials = files.trials
    reported = {name: None for trial in trials for result in trial.results for name in result}
    called = find_metric(metric, files.metric, trials, list(reported))
    counter = epoch or ITERATION
    if counter not in reported:
        raise UsageError(
            f"{root} reports no {counter!r} to count epochs by (--epoch).{did_you_mean(counter, reported)}"
        )
    begun = [trial for trial in trials if trial.results or trial.status in ("TERMINATED", "ERROR")]
    first = min((_whole(result, counter, root) for trial in begun for result in trial.results), default=1)
    longest = max((trial.iterations for trial in begun), default=0)
    return FoundStudy(
        tool="ray-tune",
        version=None,
        name=root.resolve().name,
        found_in=str(root),
        metric=called,
        sign=find_sign(called, mode),
        trials=[_found(trial, called, counter, 1 if first == 0 else 0, longest) for trial in begun],
        planned=len(trials) + files.lost,
        lost=_lost(files.lost, sum(trial.torn for trial in trials)),
    )


def _lost(trials: int, lines: int) -> str:
    """Say what could not be read; empty if all could."""
    said = [f"states of trials: {trials}"] * bool(trials) + [f"lines of results: {lines}"] * bool(lines)
    return f"what cannot be read, as after a crash; {', '.join(said)}" if said else ""


def _whole(result: Mapping[str, Any], name: str, root: Path) -> int:
    value = result.get(name)
    if not is_number(value) or not float(value).is_integer() or not 0 <= value < 2**31 - 1:
        raise UsageError(f"{root} reports {shown(value)} as {name!r}, but epochs are whole numbers (--epoch).")
    return int(value)


def _found(trial: RayTrial, metric: str, counter: str, shift: int, longest: int) -> FoundTrial:
    reports: dict[int, float | None] = {}
    seconds: dict[int, float] = {}
    for result in trial.results:
        value = result.get(metric)
        if isinstance(value, int | float):
            number = int(result[counter]) + shift
            reports[number] = finite(float(value))
            took = result.get("time_total_s")
            if is_number(took) and math.isfinite(took):
                seconds[number] = float(took)
    last = list(reports.values())[-1] if reports else None
    status = _status(trial, diverged=bool(reports) and last is None, longest=longest)
    return FoundTrial(
        number=trial.number,
        parameters=trial.config,
        status=status,
        stop_reason=SCHEDULER if status == STOPPED else None,
        reports=reports,
        result=last if status in WITH_METRIC else None,
        seconds=seconds,
        duration=next(reversed(seconds.values()), None),
        error_text=trial.error_text,
        started_at=_moment(trial.started),
        finished_at=_moment(trial.results[-1].get("timestamp") if trial.results else None),
    )


def _status(trial: RayTrial, *, diverged: bool, longest: int) -> str:
    """Return our status of a trial.

    Ray marks a trial's last result `done` where a scheduler, a stopping rule or a trainable class ended it, and not
    where a trainable function returned. A `done` trial with as many iterations as the longest one ran to its full
    length; a shorter one was stopped early.
    """
    if diverged:
        return DIVERGED
    if trial.status == "ERROR":
        return ERROR
    if trial.status != "TERMINATED" or trial.cut_off:
        return INTERRUPTED
    done = bool(trial.results) and trial.results[-1].get("done") is True
    return STOPPED if done and trial.iterations < longest else COMPLETED


def _moment(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if is_number(seconds) else None
    except (ValueError, OverflowError, OSError):  # a year that there is not
        return None
