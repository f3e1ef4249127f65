"""What cannot be imported, and what cannot be done with what was: one message each, and nothing written."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.helpers.records import SmallStudy
from tests.helpers.study_files import write
from tests.importing.sweeps import typed
from tests.importing.test_ray_tune import EXPERIMENT
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.reader import read_rows


def journal(path: Path, *parameters: dict[str, object], name: str = "sweep") -> str:
    """A journal file with a study whose trials have these parameters."""
    study = optuna.create_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))
    for values in parameters:
        study.add_trial(optuna.create_trial(value=1.0, user_attrs=values))
    return str(path)


def garbage(folder: Path, text: bytes) -> str:
    (folder / "garbage").write_bytes(text)
    return str(folder / "garbage")


def other_database(folder: Path) -> str:
    with sqlite3.connect(folder / "other.db") as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    return f"sqlite:///{folder / 'other.db'}"


def cut_off(folder: Path) -> str:
    path = folder / "cut.log"
    journal(path, GOOD, GOOD)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][: len(lines[1]) // 2], *lines[2:]]) + "\n")
    return str(path)


def two(folder: Path) -> str:
    journal(folder / "two.log", name="first")
    return journal(folder / "two.log", name="second")


GOOD = {"lr": 0.1, "batch_size": 32, "optimizer": "adam"}
STORAGES: dict[str, tuple[Callable[[Path], str], str]] = {
    "no file": (lambda folder: f"sqlite:///{folder / 'none.db'}", "There is no storage"),
    "no journal": (lambda folder: str(folder / "none.log"), "There is no storage"),
    "a folder": (lambda folder: str(folder), "There is no storage"),
    "memory": (lambda folder: "sqlite://", "does not name a file"),
    "redis": (lambda folder: "redis://host:6379", "redis storages cannot be imported"),
    "no such database": (lambda folder: "cats://host/name", "cannot be read as an Optuna storage"),
    "no driver": (lambda folder: "oracle://user:secret@host/name", "driver"),
    "garbage": (lambda folder: garbage(folder, b"cats and dogs\n"), "neither an SQLite file nor a journal"),
    "garbage as sqlite": (lambda folder: f"sqlite:///{garbage(folder, b'cats')}", "is not an SQLite file"),
    "half sqlite": (lambda folder: garbage(folder, b"SQLite format 3\0" + b"x" * 200), "cannot be read as an Optuna"),
    "empty": (lambda folder: garbage(folder, b""), "neither an SQLite file nor a journal"),
    "json, but no journal": (lambda folder: garbage(folder, b'{"a": 1}\n'), "cannot be read as an Optuna storage"),
    "other database": (other_database, "without the tables of an Optuna storage"),
    "corrupt journal": (cut_off, "cannot be read as an Optuna storage"),
    "several studies": (two, "contains several studies. Choose one with --study: first, second"),
    "no trials": (lambda folder: journal(folder / "a.log"), "has no trial that could be imported"),
    "no rate": (lambda folder: journal(folder / "a.log", {"eta": 1, "optimizer": "a"}), "--learning-rate NAME"),
    "two rates": (lambda folder: journal(folder / "a.log", {**GOOD, "base_lr": 1}), "Both 'lr' and 'base_lr'"),
    "rate of 0": (
        lambda folder: journal(folder / "a.log", {**GOOD, "lr": 0.0}),
        "must be a number above 0, but is 0.0",
    ),
    "half a sample": (lambda folder: journal(folder / "a.log", {**GOOD, "batch_size": 1.5}), "a whole number from 1"),
    "name that is a path": (lambda folder: journal(folder / "a.log", GOOD, name="../x"), "--as NAME"),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_storages_that_cannot_be_imported(tmp_path: Path, kind: str) -> None:
    make, message = STORAGES[kind]
    refused = typed("import", "optuna", make(tmp_path), "--results", tmp_path / "results")
    assert isinstance(refused.exception, TuneQatError), refused.exception
    assert message in str(refused.exception) and "secret" not in str(refused.exception)
    assert not (tmp_path / "results").exists() and not refused.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--study", "sweeb"), "Did you mean 'sweep'?"),
        (("--learning-rate", "learningrate"), "It has lr, batch_size, optimizer"),
        (("--batch-size", "=many"), "a whole number from 1, but is 'many' (--batch-size)"),
        (("--seed", "=1", "--seed", "=2"), "one =VALUE"),
        (("--trivial", "nan"), "--trivial must be a number"),
        (("--as", "a b"), "give the study another name: --as NAME"),
    ],
)
def test_options_that_fit_nothing(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    storage = journal(tmp_path / "a.log", GOOD)
    refused = typed("import", "optuna", storage, "--results", tmp_path / "results", *arguments)
    assert isinstance(refused.exception, UsageError) and message.lower() in str(refused.exception).lower()
    assert not (tmp_path / "results").exists()


def broken(copy: Path, name: str, text: str) -> None:
    next(copy.rglob(name)).write_text(text)


EXPERIMENTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "no state": (lambda copy: next(copy.glob("experiment_state*")).unlink(), (), "there is no experiment_state-*.json"),
    "half a state": (lambda copy: broken(copy, "experiment_state*", '{"trial_data": ['), (), "is not valid JSON"),
    "another state": (lambda copy: broken(copy, "experiment_state*", "[]"), (), "lists no trials"),
    "other trials": (lambda copy: broken(copy, "experiment_state*", '{"trial_data": [["{}", "{}"]]}'), (), "Trial 0"),
    "no such metric": (lambda copy: None, ("--metric", "acuracy"), "Did you mean 'accuracy'?"),
    "no such mode": (lambda copy: None, ("--mode", "up"), "--mode must be max or min"),
    "no such epoch": (lambda copy: None, ("--epoch", "epoch"), "reports no 'epoch'"),
    "no count": (lambda copy: None, ("--epoch", "accuracy"), "but epochs are whole numbers"),
    "no such name": (lambda copy: None, ("--optimizer", "optimizer"), "It has optimizer/name, optimizer/lr"),
}


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_experiments_that_cannot_be_imported(tmp_path: Path, kind: str) -> None:
    breaks, arguments, message = EXPERIMENTS[kind]
    copy = tmp_path / "sweep"
    shutil.copytree(EXPERIMENT, copy)
    breaks(copy)
    refused = typed("import", "ray-tune", copy, "--results", tmp_path / "results", *arguments)
    assert isinstance(refused.exception, TuneQatError), refused.exception
    assert message in str(refused.exception)
    assert not (tmp_path / "results").exists()


def test_a_folder_that_holds_experiments_names_one(tmp_path: Path) -> None:
    shutil.copytree(EXPERIMENT, tmp_path / "runs" / "sweep")
    assert f"An experiment is in {tmp_path / 'runs' / 'sweep'}." in str(
        typed("import", "ray-tune", tmp_path / "runs", "--results", tmp_path / "results").exception
    )
    assert "There is no folder" in str(typed("import", "ray-tune", tmp_path / "none").exception)


def test_nothing_is_overwritten_but_an_import_of_the_same(tmp_path: Path) -> None:
    results = tmp_path / "results"
    own = SmallStudy(results, "sweep")
    own.trial(own.arm("adam"), "search")
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    refused = typed("import", "ray-tune", EXPERIMENT, "--results", results, "--as", "sweep")
    assert "one that tune-qat ran, which is not overwritten" in str(refused.exception)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before
    assert typed("import", "ray-tune", EXPERIMENT, "--results", results, "--as", "other").exit_code == 0
    storage = journal(tmp_path / "a.log", GOOD)
    refused = typed("import", "optuna", storage, "--results", results, "--as", "other")
    assert "one imported from ray-tune" in str(refused.exception)
    assert typed("import", "ray-tune", EXPERIMENT, "--results", results, "--as", "other").exit_code == 0


def test_an_imported_study_can_only_be_asked(tmp_path: Path) -> None:
    results = tmp_path / "results"
    storage = journal(tmp_path / "a.log", GOOD, name="quick")
    assert typed("import", "optuna", storage, "--results", results).exit_code == 0
    (trial,) = read_rows(results, "trials")
    study = write(tmp_path, name="quick.toml")
    for command in (
        ("run", study, "--results", results),
        ("widen", results),
        ("rerun", results, trial["trial_key"]),
        ("simulate", results),
        ("export", results, "-o", tmp_path / "model.onnx"),
    ):
        refused = typed(*command)
        assert isinstance(refused.exception, UsageError), (command, refused.exception)
        assert "was imported from optuna and cannot be" in str(refused.exception)
    assert "imported" not in typed("status", results).output  # complete: nothing to go on with
    assert json.loads(read_rows(results, "studies")[0]["definition_json"])["imported"]["tool"] == "optuna"
    assert typed("compact", results).exit_code == 0 and len(read_rows(results, "trials")) == 1
