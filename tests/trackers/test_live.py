"""The log of a running study is, at every moment, what an export would write."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tests.trackers.small import search_trial, small_record
from tests.trackers.test_tensorboard import export, files
from tune_qat.results.reader import read_rows
from tune_qat.trackers.live import LiveLog


def assert_as_exported(tmp_path: Path, moment: str) -> None:
    export(tmp_path / "results", tmp_path / moment)
    assert files(tmp_path / "log") == files(tmp_path / moment), moment


def test_after_each_event_and_after_a_resume(tmp_path: Path) -> None:
    results, said = tmp_path / "results", list[str]()
    study = SmallStudy(results, "small")
    study.arm("adam")
    log = LiveLog(tmp_path / "log", results, "small", said.append)
    key = search_trial(study, "adam-w4a4", "running")
    plan = SimpleNamespace(trial_key=key)
    log.listen("started", plan, {})
    assert_as_exported(tmp_path, "started")
    for epochs in (3, 4):
        study.curve(key, *[0.5] * epochs)
        log.listen("epoch", plan, {"epoch": epochs})
        assert_as_exported(tmp_path, f"epoch {epochs}")
    # The process is lost; another attempt trains the last epoch again, and comes to another value.
    log.listen("lost", plan, {})
    again = {"trial_key": key, "attempt": 2, "epoch": 4, "val_metric": 0.625, "device_s": 50.0}
    write(results, "small", "epochs", f"{key}.2", filled("epochs", **again))
    log.listen("started", plan, {})
    log.listen("epoch", plan, {"epoch": 4})
    assert_as_exported(tmp_path, "again")
    # So does another driver, after a kill.
    study.curve(key, *[0.5] * 4)
    search_trial(study, "adam-w4a4", "completed", trial_key=key)
    (row,) = read_rows(results, "trials")
    later = LiveLog(tmp_path / "log", results, "small", said.append)
    later.listen("ended", plan, row)
    assert_as_exported(tmp_path, "ended")
    assert said == []


def test_what_no_event_told_of_is_there_at_the_end(tmp_path: Path) -> None:
    """A trial of an earlier run that lacked its last row alone gets it before anything runs."""
    study = small_record(tmp_path / "results")
    (left,) = (row["trial_key"] for row in read_rows(tmp_path / "results", "trials") if row["status"] == "running")
    log = LiveLog(tmp_path / "log", tmp_path / "results", "small", pytest.fail)
    with log.used(lambda listen: None):
        assert_as_exported(tmp_path, "before")
        search_trial(study, "adam-w4a4", "completed", trial_key=left)
    assert_as_exported(tmp_path, "after")


@contextmanager
def files_of_a_kilobyte() -> Iterator[None]:
    """No file gets longer in the block: writing fails in its middle, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_log_with_one_sentence_and_nothing_else(tmp_path: Path) -> None:
    said = list[str]()
    small_record(tmp_path / "results")
    log = LiveLog(tmp_path / "log", tmp_path / "results", "small", said.append)
    plan = SimpleNamespace(trial_key=read_rows(tmp_path / "results", "trials")[0]["trial_key"])
    with files_of_a_kilobyte(), log.used(lambda listen: None):
        log.listen("started", plan, {})
    log.listen("epoch", plan, {})
    assert len(said) == 1 and "The study goes on" in said[0] and str(tmp_path / "log") in said[0]
    # With room again, another run makes it good.
    with LiveLog(tmp_path / "log", tmp_path / "results", "small", pytest.fail).used(lambda listen: None):
        assert_as_exported(tmp_path, "room")


def test_a_record_that_cannot_be_read_is_read_again_at_the_next_epoch(tmp_path: Path) -> None:
    study = small_record(tmp_path / "results")
    key = search_trial(study, "adam-w4a4", "running")
    log = LiveLog(tmp_path / "log", tmp_path / "results", "small", pytest.fail)
    path = tmp_path / "results" / "epochs" / "study_id=small" / f"{key}.1.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    log.listen("started", SimpleNamespace(trial_key=key), {})
    assert not (tmp_path / "log" / "small").exists()
    path.write_bytes(whole)
    log.listen("epoch", SimpleNamespace(trial_key=key), {})
    assert len(files(tmp_path / "log")) == 2
