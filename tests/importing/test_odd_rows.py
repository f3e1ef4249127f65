"""Optuna's storages with values that Optuna does not write, and a database that does not answer."""

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from tests.importing.sweeps import sqlite, sweep, typed
from tune_qat.config import TuneQatError
from tune_qat.importing import database
from tune_qat.results.reader import read_rows


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    sweep(sqlite(folder)[0], trials=6)
    return folder / "sweep.db"


def changed(storage: Path, folder: Path, table: str, column: str, value: Any) -> Path:
    """The storage with a value in a column of one row, whatever its schema says of it."""
    path = folder / "sweep.db"
    shutil.copy(storage, path)
    with sqlite3.connect(path) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [made.replace("NOT NULL", ""), table])
    connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        found = connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [value, 1 if table == "studies" else 2]
        )
        assert found.rowcount == 1
    connection.close()
    return path


REFUSED = {
    "text in a number": ("trial_intermediate_values", "intermediate_value", "good", "Trial 0 holds a value"),
    "text in a value": ("trial_values", "value", "good", "holds a value that Optuna does not write"),
    "half a step": ("trial_intermediate_values", "step", 0.5, "its steps must be whole numbers from 0"),
    "a step of 40 bits": ("trial_intermediate_values", "step", 2**40, "its steps must be whole numbers from 0"),
    "a step below 0": ("trial_intermediate_values", "step", -1, "its steps must be whole numbers from 0"),
    "a number of a trial": ("trials", "number", "two", "cannot be read as an Optuna storage"),
    "a state": ("trials", "state", "SLEEPING", "cannot be read as an Optuna storage"),
    "no state": ("trials", "state", None, "cannot be read as an Optuna storage"),
    "a time": ("trials", "datetime_start", "yesterday", "cannot be read as an Optuna storage"),
    "a parameter": ("trial_params", "distribution_json", "[" * 10_000, "cannot be read as an Optuna storage"),
    "no parameter": ("trial_params", "distribution_json", None, "cannot be read as an Optuna storage"),
    "an attribute": ("trial_user_attributes", "value_json", "[" * 600 + "]" * 600, "nest more than 50 deep"),
    "a long cause": ("trials", "datetime_start", "x" * 10**6, "cannot be read as an Optuna storage"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_that_optuna_does_not_write_is_one_sentence(storage: Path, tmp_path: Path, kind: str) -> None:
    table, column, value, said = REFUSED[kind]
    path = changed(storage, tmp_path, str(table), str(column), value)
    refused = typed("import", "optuna", path, "--results", tmp_path / "results")
    assert isinstance(refused.exception, TuneQatError), refused.exception
    assert str(said) in str(refused.exception) and len(str(refused.exception)) < 2_000
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("column", ["datetime_start", "datetime_complete"])
@pytest.mark.parametrize("moment", ["0001-01-01 00:00:00.000000", None])
def test_the_year_1_is_a_time_or_unknown(storage: Path, tmp_path: Path, column: str, moment: str | None) -> None:
    path = changed(storage, tmp_path, "trials", column, moment)
    done = typed("import", "optuna", path, "--results", tmp_path / "results")
    assert done.exit_code == 0, done.exception
    assert len(read_rows(tmp_path / "results", "trials")) == 6
    assert typed("query", tmp_path / "results", "SELECT * FROM trials", "--format", "json").exit_code == 0


def test_a_name_that_is_no_text_names_the_storage(storage: Path, tmp_path: Path) -> None:
    path = changed(storage, tmp_path, "studies", "study_name", b"\xff\x00")
    refused = typed("import", "optuna", path, "--results", tmp_path / "results")
    assert isinstance(refused.exception, TuneQatError) and str(path) in str(refused.exception)


class Silent(SQLiteDialect_pysqlite):
    """A database whose driver connects to a port and waits for the first word of the server."""

    supports_statement_cache = True

    def create_connect_args(self, url: sqlalchemy.engine.URL) -> Any:
        return [url.host, url.port], {}

    def connect(self, host: str, port: int) -> Any:
        with socket.create_connection((host, port)) as one:
            one.recv(1)
        raise sqlite3.OperationalError("the server has gone")


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that takes connections and says nothing until the test is over."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_database_that_does_not_answer_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: int
) -> None:
    sqlalchemy.dialects.registry.register("silent", __name__, "Silent")
    monkeypatch.setattr(database, "ANSWER_S", 0.5)
    began, before = time.monotonic(), threading.active_count()
    refused = typed(
        "import", "optuna", f"silent://u:secret@127.0.0.1:{listening}/db", "--results", tmp_path / "results"
    )
    assert isinstance(refused.exception, TuneQatError), refused.exception
    assert "127.0.0.1 does not answer: no connection within 0.5 s" in str(refused.exception)
    assert "secret" not in str(refused.exception) and time.monotonic() - began < 20
    assert threading.active_count() <= before + 1


def test_a_database_that_refuses_says_so_itself(tmp_path: Path) -> None:
    sqlalchemy.dialects.registry.register("silent", __name__, "Silent")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused = typed("import", "optuna", f"silent://127.0.0.1:{port}/db", "--results", tmp_path / "results")
    assert isinstance(refused.exception, TuneQatError) and "Connection refused" in str(refused.exception)


def test_sqlite_is_still_read_as_it_is(storage: Path, tmp_path: Path) -> None:
    assert typed("import", "optuna", storage, "--results", tmp_path / "results").exit_code == 0
    assert optuna.__version__ in read_rows(tmp_path / "results", "studies")[0]["origin"]
