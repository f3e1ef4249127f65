"""Studies on storage that fails: object storage, full disks, damaged files, two drivers, folders that move."""

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import quota_files
from tests.helpers.namespaces import in_namespaces
from tests.helpers.quota_files import LIMIT
from tests.helpers.runs import assert_whole, begun, command, finish, study_file, wait_for
from tests.helpers.storage import Bucket
from tests.helpers.studies import SMALL as PLANNED
from tests.helpers.studies import small
from tune_qat.config import StorageRefused, TuneQatError
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import storage_path
from tune_qat.study import Study
from tune_qat.tuning import record, session
from tune_qat.tuning.budget import Budget
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]

OF_ENDED = {"pretrain": 1, "default": 2, "random": 2, "search": 8, "retrain": 4}
"""Trials of the study `ended`."""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return study_file(tmp_path, small())


def test_a_study_on_object_storage_survives_its_driver(bucket: Bucket, tmp_path: Path) -> None:
    study, results = small(epochs=2), storage_path(f"{bucket.uri}/a study")
    space = study_file(tmp_path, study)
    with begun(space, results) as process:
        wait_for(results, 3, process)
        process.kill()
    done = finish(space, results)
    assert_whole(results, PLANNED)
    # Ray's own words stay out: a line a stage is all there is beside the last screen.
    assert len(done.stderr.splitlines()) <= 5, done.stderr
    rows = read_rows(results, "trials")
    assert len({row["init_checkpoint_sha256"] for row in rows if row["stage"] != "pretrain"}) == 1
    kept = {path.parent.name for path in (results / "checkpoints").glob("study_id=small/*/last.pt")}
    assert kept == {row["trial_key"] for row in rows if row["stage"] in ("pretrain", "retrain")}
    assert str(results) in done.stdout
    assert all(bucket.objects().values()), "an object without content, as of a folder's name"
    # Asked from elsewhere, and again with nothing left to do.
    asked = [sys.executable, "-m", "tune_qat", "query", str(results), "SELECT count(*) AS n FROM epochs"]
    asked += ["--format", "csv"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.split() == ["n", str(sum(row["epochs_run"] for row in rows))], answer.stderr
    assert run(study, results=str(results)).complete


class TestFullDisk:
    """A disk that really fills up: a tmpfs where one may be mounted, and a file system with a quota anywhere."""

    @pytest.fixture
    def disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Nearly full. Processes of trials know its file system, since they import what their class is."""
        monkeypatch.setattr(session, "StudyTrial", quota_files.Trial)
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / LIMIT).write_text("400000")
        return tmp_path / "disk"

    def test_a_study_waits_until_there_is_room(self, disk: Path) -> None:
        waiting, ended = list[bool](), threading.Event()

        def make_room() -> None:
            while not list(disk.rglob("*.tmp")):  # what the first refused write left, for a moment
                if ended.wait(0.001):
                    return
            waiting.append(not ended.wait(1.0))
            (disk / LIMIT).write_text("100000000")

        thread = threading.Thread(target=make_room)
        thread.start()
        try:
            done = run(small(), results=f"quota://{disk}/results", storage_patience=300.0, max_concurrent=1)
        finally:
            ended.set()
            thread.join()
        assert waiting == [True] and done.complete
        assert_whole(disk / "results", PLANNED)

    def test_a_study_stops_cleanly_and_goes_on(self, disk: Path) -> None:
        typed: dict[str, Any] = {"results": f"quota://{disk}/results", "storage_patience": 1.0, "max_concurrent": 1}
        with pytest.raises(StorageRefused, match="cannot be written: No space left on device.*run the same command"):
            run(small(), **typed)
        for table in ("trials", "epochs", "layers", "decisions", "arms", "studies"):
            read_rows(disk / "results", table)  # every file is whole
        (disk / LIMIT).write_text("100000000")
        assert run(small(), **typed).complete
        assert_whole(disk / "results", PLANNED)

    def test_on_a_disk_of_its_own(self, space: Path, tmp_path: Path) -> None:
        """Really full, and by the command: a tmpfs, with a file that is removed after the first run has stopped."""
        inside = " ".join(command(space, tmp_path / "disk" / "results", "--storage-patience", "1s"))
        script = f"""
        mkdir {tmp_path}/disk && mount -t tmpfs -o size=2m tmpfs {tmp_path}/disk || exit 77
        head -c 1600000 /dev/zero > {tmp_path}/disk/filler
        {inside} > {tmp_path}/first 2>&1; echo $? >> {tmp_path}/first
        rm {tmp_path}/disk/filler; mount -o remount,size=64m {tmp_path}/disk
        {inside} > {tmp_path}/second 2>&1; echo $? >> {tmp_path}/second
        cp -r {tmp_path}/disk/results {tmp_path}/copy
        """
        in_namespaces(script)
        first, second = (tmp_path / "first").read_text(), (tmp_path / "second").read_text()
        assert "cannot be written: No space left on device" in first and first.endswith("\n1\n"), first
        assert "run the same command again" in first and "Traceback" not in first
        assert second.endswith("\n0\n"), second
        assert_whole(tmp_path / "copy", PLANNED)


@pytest.fixture
def moved(ended: tuple[Study, Path], tmp_path: Path) -> Path:
    """A finished study, in another folder than it was run in."""
    return Path(shutil.copytree(ended[1], tmp_path / "moved"))


def curve(results: Path, key: str) -> list[tuple[Any, ...]]:
    rows = last_epochs(results, "tiny", key)
    return [(row["epoch"], row["train_loss"], row["val_metric"], row["test_metric"]) for row in rows]


def one_of(results: Path, stage: str, **values: Any) -> dict[str, Any]:
    rows = [row for row in read_rows(results, "trials") if row["stage"] == stage]
    return next(row for row in rows if all(row[name] == value for name, value in values.items()))


def test_the_trials_of_damaged_files_are_run_again_and_nothing_else(moved: Path, ended: tuple[Study, Path]) -> None:
    damaged = {
        "epochs": one_of(moved, "default"),
        "layers": one_of(moved, "retrain"),
        "trials": one_of(moved, "random"),
    }
    keys = {row["trial_key"] for row in damaged.values()}
    assert len(keys) == 3
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    expected = {key: curve(moved, key) for key in keys}
    paths = list[Path]()
    for table, row in damaged.items():
        (path,) = (moved / table).rglob(f"{row['trial_key']}*.parquet")
        path.write_bytes(path.read_bytes()[:-3])
        paths.append(path)
    said = list[str]()
    assert run(ended[0], results=moved, say=said.append, max_concurrent=1).complete
    assert all(any(str(path) in line for line in said) for path in paths)
    assert_whole(moved, OF_ENDED)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    assert {key for key in after if after[key] != before.get(key)} == keys
    # Bit for bit: the same trials, seeds and backend.
    assert {key: curve(moved, key) for key in keys} == expected
    for table, path in zip(damaged, paths, strict=True):
        assert path.name in [one.name for one in (moved / "damaged" / table).rglob("*.parquet")]
    # What a damaged file was part of is set aside with it, and nothing else.
    assert {one.name.partition(".")[0] for one in (moved / "damaged").rglob("*.parquet")} == keys


@pytest.mark.parametrize("damage", ["cut", "pipe"])
def test_a_damaged_row_of_the_study_is_written_again_and_no_trial_is_run(
    moved: Path, ended: tuple[Study, Path], damage: str
) -> None:
    (path,) = (moved / "studies").rglob("*.parquet")
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content[:-3])
    before, said = read_rows(moved, "trials"), list[str]()
    assert run(ended[0], results=moved, say=said.append, max_concurrent=1).complete
    assert any(str(path) in line and "set aside in" in line for line in said)
    assert read_rows(moved, "trials") == before
    assert [row["complete"] for row in read_rows(moved, "studies")] == [True]


def test_a_damaged_start_is_trained_again_and_every_arm_stands(moved: Path, ended: tuple[Study, Path]) -> None:
    start = one_of(moved, "pretrain")
    path = checkpoint_path(moved, "tiny", start["trial_key"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    said = list[str]()
    assert run(ended[0], results=moved, say=said.append, max_concurrent=1).complete
    assert any(str(path) in line and "set aside" in line for line in said)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    # On a CPU the same weights come out, bit for bit, so that every other trial still fits.
    assert {key for key in after if after[key] != before.get(key)} == {start["trial_key"]}
    assert_whole(moved, OF_ENDED)


def test_a_damaged_checkpoint_of_a_cut_off_trial_is_set_aside(moved: Path, ended: tuple[Study, Path]) -> None:
    row = one_of(moved, "default")
    key, expected = row["trial_key"], curve(moved, row["trial_key"])
    # As a driver leaves it that is lost after the trial's first epoch.
    own = {name: value for name, value in row.items() if name != "study_id"}
    own |= {"status": "running", "stop_reason": None, "finished_at": None, "epochs_run": None}
    write_rows(table_folder(moved, "trials", "tiny") / f"{key}.parquet", "trials", [own])
    for table in ("epochs", "layers"):
        (path,) = (moved / table).rglob(f"{key}*.parquet")
        first = [one for one in read_rows(moved, table) if one["trial_key"] == key and one["epoch"] == 1]
        write_rows(path, table, [{name: one[name] for name in one if name != "study_id"} for one in first])
    checkpoint = checkpoint_path(moved, "tiny", key)
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"no checkpoint")
    said = list[str]()
    assert run(ended[0], results=moved, say=said.append, max_concurrent=1).complete
    assert any(str(checkpoint) in line and "set aside" in line for line in said)
    assert_whole(moved, OF_ENDED)
    assert curve(moved, key) == expected


def test_a_second_driver_is_refused_and_a_dead_ones_study_is_taken_over(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with begun(space, results) as process:
        wait_for(results, 1, process)
        with pytest.raises(TuneQatError, match=f"Study 'small' is being run by process {process.pid} on this machine"):
            run(small(), results=results)
        assert process.poll() is None
        process.kill()
    assert run(small(), results=results, max_concurrent=1).complete
    assert_whole(results, PLANNED)
    assert not (results / "claims").exists()


def test_results_that_cannot_be_written_are_read(moved: Path, ended: tuple[Study, Path]) -> None:
    space = study_file(moved.parent, ended[0])

    def typed(*arguments: str) -> str:
        return " ".join([sys.executable, "-m", "tune_qat", *arguments])

    script = f"""
    mount --bind {moved} {moved} && mount -o remount,bind,ro {moved} || exit 77
    {typed("status", str(moved))} && {typed("query", str(moved), "leaderboard")} || exit 78
    {" ".join(command(space, moved))}
    """
    done = in_namespaces(script)
    assert done.returncode == 1, done.stderr
    assert "study tiny: complete" in done.stdout
    assert f"{moved} cannot be written to" in done.stderr and "Traceback" not in done.stderr


def test_a_time_budget_ends_a_study_that_goes_on_later_even_where_the_clock_runs_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [datetime(1999, 12, 31, tzinfo=UTC)]

    def backwards() -> datetime:
        moment[0] -= timedelta(hours=1)
        return moment[0]

    monkeypatch.setattr(record, "now", backwards)
    study = small()
    first = run(study, results=tmp_path, budget=Budget(seconds=0.001), max_concurrent=1)
    assert (first.complete, first.stopped_by) == (False, "budget")
    assert run(study, results=tmp_path, max_concurrent=1).complete
    assert_whole(tmp_path, PLANNED)
    assert read_rows(tmp_path, "studies")[0]["wall_s"] >= 0


def test_compaction_while_the_study_runs(tmp_path: Path) -> None:
    from tune_qat.results.compaction import compact

    results, stop, merged = tmp_path / "results", threading.Event(), list[int]()

    def compact_on() -> None:
        while not stop.wait(0.3):
            if results.exists():
                merged.append(sum(study.before - study.after for study in compact(results)))

    thread = threading.Thread(target=compact_on)
    thread.start()
    try:
        done = run(small(), results=results, max_concurrent=1)
    finally:
        stop.set()
        thread.join()
    assert done.complete and sum(merged) > 0
    assert_whole(results, PLANNED)
    compact(results)
    assert_whole(results, PLANNED)
    assert len(list((results / "trials").rglob("*.parquet"))) == 1
    assert run(small(), results=results).complete
