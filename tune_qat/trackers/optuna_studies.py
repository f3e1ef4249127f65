"""Studies of Optuna: one for each board, in a database or a journal file that optuna-dashboard reads."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.secrets import hide_secrets, without_secrets_of
from tune_qat.config.shown import cut
from tune_qat.config.statuses import CALIBRATED, COMPLETED, FINAL, STOPPED
from tune_qat.trackers.recorded import Recorded
from tune_qat.trackers.searched import Space, board_of, same_kind, values_of
from tune_qat.trackers.tracked import TrackedRun, tracked

_OURS = "tune_qat"
"""User attribute of the studies that are written here."""
_SQLITE = (".db", ".sqlite", ".sqlite3")
_MAGIC = b"SQLite format 3\0"


def export(found: Iterable[Recorded], out: str) -> tuple[int, int]:
    """Add the trials that have ended to their studies; return how many there are, and how many were added.

    Optuna does not change a trial that has ended, so that one which has not is added once it has. The trial that arms
    share and those of the stage `calibrated` were not searched, and are left out. Raises `TuneQatError`.
    """
    boards = defaultdict(list)
    for one in found:
        if one.of_arm and one.trial["stage"] != CALIBRATED and one.trial["status"] in FINAL:
            boards[board_of(one)].append(one)
    with _writing(out):
        storage = _storage(out)
        added = [_export_board(storage, name, trials, out) for name, trials in boards.items()]
    return sum(map(len, boards.values())), sum(added)


def _export_board(storage: BaseStorage, name: str, trials: list[Recorded], out: str) -> int:
    trials.sort(key=_begun)
    study = _study(storage, name, trials[0], out)
    known = study.get_trials(deepcopy=False)
    there = {_identity(trial) for trial in known}
    space = Space.of(trials)
    for trial in known:
        space.including(trial.distributions)
    distributions = space.distributions()
    new = [made for one in trials if _identity(made := _frozen(one, distributions)) not in there]
    if new and any(not same_kind(one, distributions[key]) for old in known for key, one in old.distributions.items()):
        # Another optimizer: Optuna's choices cannot grow, so that the study is written anew with what it had.
        optuna.delete_study(study_name=name, storage=storage)
        study = _study(storage, name, trials[0], out)
        for old in known:
            old.distributions = {key: distributions[key] for key in old.distributions}
        study.add_trials(known)
    study.add_trials(new)
    return len(new)


def _study(storage: BaseStorage, name: str, found: Recorded, out: str) -> optuna.Study:
    """Return the study of this name, which is made where there is none."""
    arm = found.arm
    direction = StudyDirection.MINIMIZE if arm.get("sign") == -1 else StudyDirection.MAXIMIZE
    study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    if _OURS not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise UsageError(
                f"{hide_secrets(out)} has a study {name!r} that something else wrote. Export to another --out."
            )
        study.set_metric_names([str(arm["metric"])])
        about = {"workload": arm["workload"], "metric": arm["metric"], "unit": arm["unit"], "mode": arm["mode"]}
        for key, value in {**about, _OURS: found.trial["tune_qat_version"]}.items():
            study.set_user_attr(key, value)
    return study


def _frozen(found: Recorded, distributions: dict[str, Any]) -> FrozenTrial:
    """Return a trial as Optuna keeps one: stopped by ASHA is PRUNED, what failed has no value."""
    run, trial = tracked(found), found.trial
    metric = trial.get("val_metric")
    state = {COMPLETED: TrialState.COMPLETE, STOPPED: TrialState.PRUNED}.get(trial["status"], TrialState.FAIL)
    if metric is None and state == TrialState.COMPLETE:
        state = TrialState.FAIL
    values = values_of(found)
    frozen = optuna.create_trial(
        state=state,
        value=metric if state != TrialState.FAIL else None,
        params=dict(values),
        distributions={name: distributions[name] for name in values},
        user_attrs=_attributes(run, values),
        intermediate_values={row["epoch"]: row["val_metric"] for row in found.epochs if row["val_metric"] is not None},
    )
    # Optuna writes local times without a zone.
    if run.started_at:
        frozen.datetime_start = datetime.fromtimestamp(run.started_at)
    if run.ended_at:
        frozen.datetime_complete = datetime.fromtimestamp(run.ended_at)
    return frozen


def _attributes(run: TrackedRun, values: Any) -> dict[str, Any]:
    finals = {name.removeprefix("when_ended/"): value for name, value in run.finals.items()}
    parameters = {name: value for name, value in run.parameters.items() if name not in values}
    return {**run.identity, **run.outcome, **parameters, **finals}


def _begun(found: Recorded) -> tuple[Any, ...]:
    """Return what puts trials in the order in which they began, which Optuna's history is drawn in."""
    at = found.trial.get("started_at")
    return (at is not None, at, found.trial["trial_key"])


def _identity(trial: FrozenTrial) -> tuple[Any, str]:
    """Return what a trial is known by: one that failed and was run again is another trial for Optuna, too."""
    return trial.user_attrs.get("trial_key"), trial.state.name


@contextmanager
def _writing(out: str) -> Iterator[None]:
    """Let Optuna be silent, and turn its errors, SQLAlchemy's and those of drivers into a `TuneQatError`."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    except TuneQatError:
        raise
    except Exception as error:
        told = without_secrets_of(out, str(error)[:10_000]).partition("\n")[0]
        raise TuneQatError(
            f"{hide_secrets(out)} cannot be written as an Optuna storage ({type(error).__name__}: {cut(told)}). "
            "What is already there stays: the same command goes on."
        ) from None
    finally:
        optuna.logging.set_verbosity(before)


def _storage(out: str) -> BaseStorage:
    if "://" in out:
        return RDBStorage(out)
    path = Path(out).expanduser()
    if path.is_dir():
        raise UsageError(f"--out {out} is a folder. Name a file, such as {path / 'optuna.db'}, or a database's URL.")
    start = b""
    if path.exists():
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    if start == _MAGIC or (not start and path.suffix in _SQLITE):
        return RDBStorage(f"sqlite:///{path}")
    if start and not start.startswith(b"{"):
        raise UsageError(f"--out {out} is a file that Optuna did not write. Name another one.")
    return JournalStorage(JournalFileBackend(str(path)))
