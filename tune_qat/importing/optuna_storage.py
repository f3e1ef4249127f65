"""Import from an Optuna storage: SQLite (opened read-only), a journal file, or another database."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tune_qat.config import Range, TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.secrets import hide_secrets, without_secrets_of
from tune_qat.config.shown import cause, cut, listed, shown
from tune_qat.config.statuses import COMPLETED, DIVERGED, ERROR, INTERRUPTED, PRUNER, STOPPED
from tune_qat.importing.database import check_answers
from tune_qat.importing.found import FoundStudy, FoundTrial, finite, is_number
from tune_qat.importing.plain import plain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_KINDS = "sqlite:///study.db, the path of a journal file, or a database's URL such as mysql://user@host/name"
_MAGIC = b"SQLite format 3\0"


def read(storage: str, name: str | None = None, metric: str | None = None) -> FoundStudy:
    """Read a study from an Optuna storage.

    Args:
        storage: URL of a database, or path of an SQLite or journal file. Files are never written to.
        name: name of the study; may be left out if the storage has only one.
        metric: name of the objective to take if the study has several. A single objective without a name gets this one.

    Raises:
        TuneQatError: the storage does not exist or cannot be read.
        UsageError: no study of this name, or several studies and no name; several objectives and no metric.
    """
    import optuna

    with _readable(storage):
        opened, found_in, version = _open(storage)
        study = optuna.load_study(study_name=_name(opened, hide_secrets(found_in), name), storage=opened)
        index, called, sign = _objective(study, metric)
        if not (isinstance(study.study_name, str) and isinstance(called, str)):
            raise TypeError("a name is no text")
        trials = study.get_trials(deepcopy=False)
        first = min((step for trial in trials for step in trial.intermediate_values), default=0)
        begun = [trial for trial in trials if trial.state.name != "WAITING"]
        # Steps begin at 0 or 1, epochs at 1.
        found = [_read(trial, index, shift=1 if first == 0 else 0) for trial in begun]
    return FoundStudy(
        tool="optuna",
        version=version,
        name=study.study_name,
        found_in=found_in,
        metric=called,
        sign=sign,
        trials=found,
        planned=len(trials),
    )


@contextmanager
def _readable(storage: str) -> Iterator[None]:
    """Turn the errors of Optuna, SQLAlchemy and drivers about an unreadable storage into a `TuneQatError`."""
    try:
        yield
    except TuneQatError:
        raise
    except ImportError as error:
        missing = without_secrets_of(storage, str(error))
        raise TuneQatError(f"The storage needs a database driver that is not installed: {missing}") from None
    except Exception as error:  # Optuna, SQLAlchemy and drivers raise anything at a value that they did not write
        # A driver may repeat a value of megabytes; what is shown lies far before its end.
        told = without_secrets_of(storage, str(error)[:10_000])
        if type(error) is RuntimeError:  # another version's tables: Optuna says what to do
            raise TuneQatError(f"Optuna cannot read the storage. {cut(told, 2_000)}") from None
        first = cut(told.partition("\n")[0])
        raise TuneQatError(
            f"{hide_secrets(storage)} cannot be read as an Optuna storage ({type(error).__name__}: {first}). "
            f"A storage is {_KINDS}. Check that this is one, and that it is complete."
        ) from None


def _open(storage: str) -> "tuple[BaseStorage, str, str | None]":
    """Return the storage, its name without query and password, and the Optuna version that made it (SQLite only)."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.engine import make_url

    if "://" not in storage:
        path = _file(Path(storage))
        if _is_sqlite(path):
            return _open_sqlite(path)
        if not path.read_bytes()[:1] == b"{":
            raise TuneQatError(f"{path} is neither an SQLite file nor a journal file of Optuna.")
        return JournalStorage(JournalFileBackend(str(path))), str(path), None
    if storage.startswith(("redis:", "rediss:", "grpc:")):
        raise UsageError(f"{storage.partition(':')[0]} storages cannot be imported from. A storage is {_KINDS}.")
    url = make_url(storage)
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise UsageError(f"{hide_secrets(storage)} does not name a file. A storage is {_KINDS}.")
        return _open_sqlite(_file(Path(url.database)))
    check_answers(url)
    named = url.set(query={}).render_as_string(hide_password=True)
    return RDBStorage(storage, skip_table_creation=True), named, None


def _open_sqlite(path: Path) -> "tuple[BaseStorage, str, str | None]":
    from optuna.storages import RDBStorage

    def connect() -> sqlite3.Connection:
        # SQLAlchemy hands connections from thread to thread.
        return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False)

    if not _is_sqlite(path):
        raise TuneQatError(f"{path} is not an SQLite file.")
    connection = connect()
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"studies", "trials", "version_info"} <= tables:
            raise TuneQatError(f"{path} is an SQLite file without the tables of an Optuna storage.")
        (version,) = connection.execute("SELECT library_version FROM version_info").fetchone() or (None,)
    finally:
        connection.close()
    opened = RDBStorage("sqlite://", engine_kwargs={"creator": connect}, skip_table_creation=True)
    return opened, f"sqlite:///{path}", version if isinstance(version, str) else None


def _file(path: Path) -> Path:
    if not path.is_file():
        raise TuneQatError(f"There is no storage {hide_secrets(str(path))}. A storage is {_KINDS}.")
    return path


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _name(storage: "BaseStorage", shown: str, name: str | None) -> str:
    import optuna

    known = sorted(optuna.get_all_study_names(storage))
    if not known:
        raise UsageError(f"{shown} contains no study.")
    if name is None and len(known) > 1:
        raise UsageError(f"{shown} contains several studies. Choose one with --study: {listed(known)}.")
    if name is not None and name not in known:
        raise UsageError(f"{shown} contains no study {name!r}.{did_you_mean(name, known)} It has {listed(known)}.")
    return name or known[0]


def _objective(study: "Study", metric: str | None) -> tuple[int, str, int]:
    """Return index, name and sign (1: larger is better) of the objective that becomes the metric."""
    signs = [1 if direction.name == "MAXIMIZE" else -1 for direction in study.directions]
    names = study.metric_names
    if names is None and len(signs) == 1:
        return 0, metric or "value", signs[0]
    names = names or [str(index) for index in range(len(signs))]
    if metric is None and len(names) > 1:
        raise UsageError(
            f"Study {shown(study.study_name)} has {len(names)} objectives. Choose one with --metric: {listed(names)}."
        )
    wanted = metric or names[0]
    if wanted not in names:
        raise UsageError(f"Study {shown(study.study_name)} has no objective {wanted!r}. It has {listed(names)}.")
    return names.index(wanted), wanted, signs[names.index(wanted)]


def _read(trial: "FrozenTrial", index: int, shift: int) -> FoundTrial:
    """Read a trial; `TuneQatError` with its number where it holds what Optuna does not write."""
    try:
        return _trial(trial, index, shift)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise TuneQatError(
            f"Trial {trial.number} holds a value that Optuna does not write ({cause(error)}). Correct it, or remove "
            "the trial."
        ) from None


def _trial(trial: "FrozenTrial", index: int, shift: int) -> FoundTrial:
    whole = isinstance(trial.number, int) and 0 <= trial.number < 2**31
    if not whole or not all(map(_is_step, trial.intermediate_values)):
        raise ValueError("its number and its steps must be whole numbers from 0")
    reports = {step + shift: finite(value) for step, value in sorted(trial.intermediate_values.items())}
    values = trial.values
    value = finite(values[index]) if values is not None else None
    if not reports and value is not None:
        reports = {1: value}
    status = _status(trial.state.name, value, reports)
    last = list(reports.values())[-1] if reports else None
    return FoundTrial(
        number=trial.number,
        parameters=plain(trial.params),
        attributes=plain(trial.user_attrs),
        ranges={name: known for name, one in trial.distributions.items() if (known := _range(one)) is not None},
        status=status,
        stop_reason=PRUNER if status == STOPPED else None,
        reports=reports,
        # A pruned trial's value is its last report; one that was cut off has nothing else.
        result=value if status == COMPLETED else last if status in (STOPPED, INTERRUPTED) else None,
        duration=None if trial.duration is None else trial.duration.total_seconds(),
        started_at=_moment(trial.datetime_start),
        finished_at=_moment(trial.datetime_complete),
    )


def _is_step(step: object) -> bool:
    return isinstance(step, int) and 0 <= step < 2**31 - 1


def _status(state: str, value: float | None, reports: Mapping[int, float | None]) -> str:
    """Return our status of a trial.

    Optuna records no cause of a failure: a failed trial that reported a number that is not finite counts as diverged.
    """
    if state == "RUNNING":
        return INTERRUPTED
    if state == "COMPLETE":
        return COMPLETED if value is not None else DIVERGED
    if state == "PRUNED":
        return DIVERGED if reports and list(reports.values())[-1] is None else STOPPED
    return DIVERGED if None in reports.values() else ERROR


def _range(distribution: "BaseDistribution") -> Range | None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, FloatDistribution | IntDistribution):
        return Range(low=distribution.low, high=distribution.high, log=distribution.log)
    if isinstance(distribution, CategoricalDistribution):
        numbers = [one for one in distribution.choices if is_number(one)]
        if numbers and len(numbers) == len(distribution.choices):
            return Range(low=min(numbers), high=max(numbers), log=False)
    return None


def _moment(local: datetime | None) -> Any:
    """Return a time with this machine's zone: Optuna writes local times without one."""
    try:
        return None if local is None else local.astimezone()
    except (OverflowError, ValueError, OSError):  # the year 1, before which a zone may lie
        return None
