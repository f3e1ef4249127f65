"""Import from a Ray Tune experiment's folder, out of its JSON and CSV files alone.

Ray's own readers (`Tuner.restore`, `ExperimentAnalysis`) unpickle parts of these files, and so run code of whoever
wrote them.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.statuses import COMPLETED, DIVERGED, ERROR, INTERRUPTED, SCHEDULER, STOPPED, WITH_METRIC
from tune_qat.importing.found import FoundStudy, FoundTrial, finite, is_number
from tune_qat.importing.ray_metric import find_metric, find_sign

ITERATION = "training_iteration"
_STATES = "experiment_state-*.json"


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One trial as its files describe it; names of nested values are joined by `/`."""

    number: int
    state: Mapping[str, Any]
    config: Mapping[str, Any]
    started: float | None
    results: Sequence[Mapping[str, Any]]
    error_text: str | None

    @property
    def iterations(self) -> int:
        return int(self.results[-1].get(ITERATION, 0)) if self.results else 0


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
    state = _state(root)
    trials = [
        _read_trial(root, number, *both) for number, both in enumerate(sorted(_of_trials(root, state), key=_begun))
    ]
    reported = {name: None for trial in trials for result in trial.results for name in result}
    called = find_metric(metric, state.get("runner_data", {}).get("_metric"), trials, list(reported))
    counter = epoch or ITERATION
    if counter not in reported:
        raise UsageError(
            f"{root} reports no {counter!r} to count epochs by (--epoch).{did_you_mean(counter, reported)}"
        )
    begun = [trial for trial in trials if trial.results or trial.state["status"] in ("TERMINATED", "ERROR")]
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
        planned=len(trials),
    )


def _state(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise TuneQatError(f"There is no folder {root}. Give the folder of an experiment: storage_path/name.")
    states = sorted(root.glob(_STATES))
    if not states:
        inside = sorted(path.parent for path in root.glob(f"*/{_STATES}"))
        hint = f" An experiment is in {inside[0]}." if inside else ""
        raise TuneQatError(f"{root} holds no Ray Tune experiment: there is no {_STATES} in it.{hint}")
    # The newest one, as Ray takes it: their names are dates.
    state = _json(states[-1], states[-1].read_text(encoding="utf-8"))
    if not isinstance(state, dict) or not isinstance(state.get("trial_data"), list):
        raise TuneQatError(f"{states[-1]} lists no trials (trial_data). It is damaged, or older than Ray 2.5.")
    return state


def _of_trials(root: Path, state: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each trial's description (status, config, folder) and its run-time data; both are JSON inside JSON."""
    for number, one in enumerate(state["trial_data"]):
        try:
            trial, went = (json.loads(text) for text in one)
            yield {"status": trial["status"], "config": trial["config"], "folder": trial["relative_logdir"]}, went
        except (ValueError, KeyError, TypeError) as error:
            raise TuneQatError(
                f"Trial {number} of {root} cannot be read from {_STATES} ({type(error).__name__}: {error}). "
                "The file is damaged, or was written by a version of Ray with another format."
            ) from None


def _begun(both: tuple[Mapping[str, Any], Mapping[str, Any]]) -> tuple[float, str]:
    """Return a sort key: trials in the order of their start, those that never started last."""
    trial, went = both
    return went.get("start_time") or math.inf, str(trial["folder"])


def _read_trial(root: Path, number: int, trial: dict[str, Any], went: Mapping[str, Any]) -> _Trial:
    # Only the name of the folder counts: a path in the file must not lead out of the experiment.
    folder = root / Path(str(trial["folder"])).name
    error = folder / "error.txt"
    return _Trial(
        number=number,
        state=trial,
        config=dict(_flat(trial["config"])),
        started=went.get("start_time"),
        results=_results(folder),
        error_text=error.read_text(encoding="utf-8", errors="replace") if error.is_file() else None,
    )


def _results(folder: Path) -> list[dict[str, Any]]:
    lines, table = folder / "result.json", folder / "progress.csv"
    if lines.is_file():
        texts = lines.read_text(encoding="utf-8").splitlines()
        return [dict(_flat(_json(lines, text))) for text in texts if text.strip()]
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return []


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TuneQatError(f"{path} is not valid JSON ({error}).") from None


def _value(text: str | None) -> Any:
    """Read a cell of a CSV file as bool, int or float, else as its text."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text or "") if any(letter not in "-0123456789" for letter in text or "") else int(text or "")
    except ValueError:
        return text


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values under names joined with `/`; values that Ray pickled into the JSON are left out."""
    for name, value in values.items() if isinstance(values, dict) else ():
        if not isinstance(value, dict):
            yield f"{prefix}{name}", value
        elif value.get("_type") != "CLOUDPICKLE_FALLBACK":
            yield from _flat(value, f"{prefix}{name}/")


def _whole(result: Mapping[str, Any], name: str, root: Path) -> int:
    value = result.get(name)
    if not is_number(value) or not float(value).is_integer() or value < 0:
        raise UsageError(f"{root} reports {value!r} as {name!r}, but epochs are whole numbers (--epoch).")
    return int(value)


def _found(trial: _Trial, metric: str, counter: str, shift: int, longest: int) -> FoundTrial:
    reports: dict[int, float | None] = {}
    seconds: dict[int, float] = {}
    for result in trial.results:
        value = result.get(metric)
        if isinstance(value, int | float):
            number = int(result[counter]) + shift
            reports[number] = finite(float(value))
            if isinstance(result.get("time_total_s"), int | float):
                seconds[number] = float(result["time_total_s"])
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


def _status(trial: _Trial, *, diverged: bool, longest: int) -> str:
    """Return our status of a trial.

    Ray marks a trial's last result `done` where a scheduler, a stopping rule or a trainable class ended it, and not
    where a trainable function returned. A `done` trial with as many iterations as the longest one ran to its full
    length; a shorter one was stopped early.
    """
    if diverged:
        return DIVERGED
    if trial.state["status"] == "ERROR":
        return ERROR
    if trial.state["status"] != "TERMINATED":
        return INTERRUPTED
    done = bool(trial.results) and trial.results[-1].get("done") is True
    return STOPPED if done and trial.iterations < longest else COMPLETED


def _moment(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else None
