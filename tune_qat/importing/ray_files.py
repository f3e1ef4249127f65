"""The JSON and CSV files of a Ray Tune experiment's folder. What was torn in a crash is left out, and counted."""

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.importing.found import is_number
from tune_qat.importing.plain import from_json, text_of

ITERATION = "training_iteration"
_STATES = "experiment_state-*.json"


@dataclass(frozen=True, kw_only=True)
class RayTrial:
    """One trial as its files describe it; names of nested values are joined by `/`."""

    number: int
    status: str
    config: Mapping[str, Any]
    started: float | None
    results: Sequence[Mapping[str, Any]]
    torn: int
    """Number of lines of its results that cannot be read."""
    cut_off: bool
    """Whether the last line is one of these."""
    error_text: str | None

    @property
    def iterations(self) -> int:
        count = self.results[-1].get(ITERATION) if self.results else 0
        return int(count) if is_number(count) and math.isfinite(count) else 0


@dataclass(frozen=True, kw_only=True)
class RayFiles:
    """Trials of an experiment, in the order of their start, and what it says of itself."""

    trials: Sequence[RayTrial]
    metric: Any
    """Metric that the experiment names; None where it names none."""
    lost: int
    """Number of trials that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """A trial in the state of the experiment."""

    status: str
    config: Mapping[str, Any]
    folder: str
    started: float | None


def read_files(root: Path) -> RayFiles:
    """Read an experiment's folder.

    Raises `TuneQatError` for no such folder, no experiment in it, or one of which no trial can be read.
    """
    state = _state(root)
    found, reasons = list[_State](), list[str]()
    for number, texts in enumerate(state["trial_data"]):
        try:
            found.append(_described(texts))
        except (ValueError, KeyError, TypeError) as error:
            reasons.append(f"Trial {number} of {root} cannot be read from {_STATES} ({type(error).__name__}: {error})")
    if reasons and not found:
        raise TuneQatError(
            f"{reasons[0]}. The file is damaged, or was written by a version of Ray with another format."
        )
    # Trials that never started are last.
    found.sort(key=lambda one: (math.inf if one.started is None else one.started, one.folder))
    runner = state.get("runner_data")
    return RayFiles(
        trials=[_read(root, number, one) for number, one in enumerate(found)],
        metric=runner.get("_metric") if isinstance(runner, dict) else None,
        lost=len(reasons),
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
    text = text_of(states[-1])
    try:
        state = from_json(text)
    except ValueError as error:
        raise TuneQatError(f"{states[-1]} is not valid JSON ({error}).") from None
    if not isinstance(state, dict) or not isinstance(state.get("trial_data"), list):
        raise TuneQatError(f"{states[-1]} lists no trials (trial_data). It is damaged, or older than Ray 2.5.")
    return state


def _described(texts: Any) -> _State:
    """Read a trial's description and its run-time data, both JSON inside JSON; `ValueError` and others at damage."""
    trial, went = (from_json(text) for text in texts)
    status, config, folder, started = (
        trial["status"], trial["config"], trial["relative_logdir"], dict(went).get("start_time")
    )  # fmt: skip
    if not (isinstance(status, str) and isinstance(config, dict) and isinstance(folder, str)):
        raise ValueError("its status, config or folder is of another type")
    if Path(folder).name in ("", ".."):
        raise ValueError("its folder has no name")
    known = is_number(started) and started > 0 and math.isfinite(started)
    moment = float(started) if known and started is not None else None
    return _State(status=status, config=config, folder=folder, started=moment)


def _read(root: Path, number: int, state: _State) -> RayTrial:
    # Only the name of the folder counts: a path in the file must not lead out of the experiment.
    folder = root / Path(state.folder).name
    error = folder / "error.txt"
    results = _results(folder)
    whole = [one for one in results if one is not None]
    return RayTrial(
        number=number,
        status=state.status,
        config=dict(_flat(state.config)),
        started=state.started,
        results=whole,
        torn=len(results) - len(whole),
        cut_off=bool(results) and results[-1] is None,
        error_text=text_of(error, "replace") if os.path.isfile(error) else None,
    )


def _results(folder: Path) -> list[dict[str, Any] | None]:
    """Return a trial's results, None for a line that is torn: a process that dies leaves half a line."""
    lines, table = folder / "result.json", folder / "progress.csv"
    if os.path.isfile(lines):
        return [_result(text) for text in text_of(lines, "replace").splitlines() if text.strip()]
    return _table(table) if os.path.isfile(table) else []


def _result(text: str) -> dict[str, Any] | None:
    try:
        value = from_json(text)
    except ValueError:
        return None
    return dict(_flat(value)) if isinstance(value, dict) else None


def _table(path: Path) -> list[dict[str, Any] | None]:
    text = text_of(path, "replace")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise TuneQatError(f"{path} is not a CSV file ({error}).") from None
    # Cells beyond the header have no name, and cells that are missing are None.
    found = [
        None if None in row or None in row.values() else {name: _value(cell) for name, cell in row.items()}
        for row in rows
    ]
    if found and not text.endswith("\n"):
        found[-1] = None  # the number in its last cell may lack digits
    return found


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
