"""Studies on storage that fails: object storage, full disks, damaged files, two drivers, folders that move."""

import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.quota_files import LIMIT, SITECUSTOMIZE
from tests.helpers.storage import Bucket
from tests.tuning.studies import tiny
from tests.tuning.test_run import assert_whole
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.study import Study
from tune_qat.tuning import record
from tune_qat.tuning.budget import Budget
from tune_qat.tuning.run import run

pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).parents[2]
PLANNED = {"pretrain": 1, "default": 1, "search": 3, "retrain": 2}
STUDY_FILE = """
name = "small"
[workload]
model = "lenet5"
dataset = "digits"
options = { train_limit = 128 }
[quantization]
bits = [[4, 4]]
[training]
epochs = 4
[pretrain]
batch_size = 32
epochs = 2
[space]
optimizers = ["adam"]
batch_size = { low = 16, high = 64 }
[stages]
search = 3
retrain = 2
[judgement]
metric = "accuracy"
margin = 0.01
"""


def small() -> Study:
    return Study.model_validate(tomllib.loads(STUDY_FILE))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(STUDY_FILE)
    return path


def command(space: Path, results: object, *more: str) -> list[str]:
    return [sys.executable, "-m", "tune_qat", "run", str(space), "--results", str(results), "--no-progress", *more]


def wait_for(results: StoragePath, trials: int, process: subprocess.Popen[str]) -> None:
    """Until the record holds that many trials, the study still running."""
    until = time.monotonic() + 120
    while len(list((results / "trials").glob("study_id=*/[!.]*.parquet"))) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_study_on_object_storage_survives_its_driver(space: Path, bucket: Bucket) -> None:
    results = storage_path(f"{bucket.uri}/a study")
    with subprocess.Popen(
        command(space, results), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(results, 3, process)
        process.kill()
    done = subprocess.run(command(space, results), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert_whole(results, PLANNED)
    rows = read_rows(results, "trials")
    assert len({row["init_checkpoint_sha256"] for row in rows if row["stage"] != "pretrain"}) == 1
    kept = {path.parent.name for path in (results / "checkpoints").glob("*/last.pt")}
    assert kept == {row["trial_key"] for row in rows if row["stage"] in ("pretrain", "retrain")}
    assert str(results) in done.stdout
    # Asked from elsewhere, and again with nothing left to do.
    asked = [
        sys.executable,
        "-m",
        "tune_qat",
        "query",
        str(results),
        "SELECT count(*) AS n FROM epochs",
        "--format",
        "csv",
    ]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.split() == ["n", str(sum(row["epochs_run"] for row in rows))], answer.stderr
    assert run(small(), results=str(results)).complete


class TestFullDisk:
    """A disk that really fills up: a tmpfs where one may be mounted, and a file system with a quota anywhere."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        (tmp_path / "disk").mkdir()
        return tmp_path / "disk"

    def test_a_study_waits_until_there_is_room(self, space: Path, disk: Path, environment: dict[str, str]) -> None:
        (disk / LIMIT).write_text("400000")
        with subprocess.Popen(
            command(space, f"quota://{disk}/results", "--storage-patience", "5m"), env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            until = time.monotonic() + 120
            while not list(disk.rglob("*.tmp")):  # what the first refused write left, for a moment
                assert process.poll() is None and time.monotonic() < until, process.communicate()
                time.sleep(0.001)
            time.sleep(2)
            assert process.poll() is None
            (disk / LIMIT).write_text("100000000")
            _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert_whole(disk / "results", PLANNED)

    def test_a_study_stops_cleanly_and_goes_on(self, space: Path, disk: Path, environment: dict[str, str]) -> None:
        (disk / LIMIT).write_text("400000")
        typed = command(space, f"quota://{disk}/results", "--storage-patience", "2s")
        stopped = subprocess.run(typed, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert stopped.returncode == 1, stopped.stderr
        assert "cannot be written: No space left on device" in stopped.stderr
        assert "run the same command again" in stopped.stderr and "Traceback" not in stopped.stderr
        for table in ("trials", "epochs", "layers", "decisions", "arms", "studies"):
            read_rows(disk / "results", table)  # every file is whole
        (disk / LIMIT).write_text("100000000")
        done = subprocess.run(typed, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert_whole(disk / "results", PLANNED)

    def test_on_a_disk_of_its_own(self, space: Path, tmp_path: Path) -> None:
        """Really full: a tmpfs, filled by a file that is removed after the first run has stopped."""
        inside = " ".join(command(space, tmp_path / "disk" / "results", "--storage-patience", "2s"))
        script = f"""
        mkdir {tmp_path}/disk && mount -t tmpfs -o size=2m tmpfs {tmp_path}/disk || exit 77
        head -c 1600000 /dev/zero > {tmp_path}/disk/filler
        {inside} > {tmp_path}/first 2>&1; echo $? >> {tmp_path}/first
        rm {tmp_path}/disk/filler; mount -o remount,size=64m {tmp_path}/disk
        {inside} > {tmp_path}/second 2>&1; echo $? >> {tmp_path}/second
        cp -r {tmp_path}/disk/results {tmp_path}/copy
        """
        if shutil.which("unshare") is None:
            pytest.skip("there is no unshare here")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=300)
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip(f"no file system may be mounted here: {done.stderr}")
        first, second = (tmp_path / "first").read_text(), (tmp_path / "second").read_text()
        assert "No space left on device" in first and first.endswith("\n1\n"), first
        assert second.endswith("\n0\n"), second
        assert_whole(tmp_path / "copy", PLANNED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("finished") / "results"
    assert run(small(), results=results).complete
    return results


@pytest.fixture
def moved(finished: Path, tmp_path: Path) -> Path:
    """The finished study, in another folder than it was run in."""
    return Path(shutil.copytree(finished, tmp_path / "moved"))


def curve(results: Path, key: str) -> list[tuple[Any, ...]]:
    rows = last_epochs(results, "small", key)
    return [(row["epoch"], row["train_loss"], row["val_metric"], row["test_metric"]) for row in rows]


def one_of(results: Path, stage: str, **values: Any) -> dict[str, Any]:
    rows = [row for row in read_rows(results, "trials") if row["stage"] == stage]
    return next(row for row in rows if all(row[name] == value for name, value in values.items()))


@pytest.mark.parametrize(("stage", "table"), [("default", "epochs"), ("retrain", "layers"), ("default", "trials")])
def test_the_trial_of_a_damaged_file_is_run_again_and_nothing_else(moved: Path, stage: str, table: str) -> None:
    row = one_of(moved, stage)
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    expected = curve(moved, row["trial_key"])
    (path,) = (moved / table).rglob(f"{row['trial_key']}*.parquet")
    path.write_bytes(path.read_bytes()[:-3])
    said = list[str]()
    assert run(small(), results=moved, say=said.append).complete
    assert any(str(path) in line for line in said)
    assert_whole(moved, PLANNED)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    assert {key for key in after if after[key] != before.get(key)} == {row["trial_key"]}
    assert curve(moved, row["trial_key"]) == expected  # bit for bit: the same trial, seeds and backend
    assert [one.name for one in (moved / "damaged" / table).rglob("*.parquet")] == [path.name]


def test_a_damaged_start_is_trained_again_and_every_arm_stands(moved: Path) -> None:
    start = one_of(moved, "pretrain")
    path = checkpoint_path(moved, start["trial_key"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    said = list[str]()
    assert run(small(), results=moved, say=said.append).complete
    assert any(str(path) in line and "set aside" in line for line in said)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    # On a CPU the same weights come out, bit for bit, so that every other trial still fits.
    assert {key for key in after if after[key] != before.get(key)} == {start["trial_key"]}
    assert_whole(moved, PLANNED)


def test_a_damaged_checkpoint_of_a_cut_off_trial_is_set_aside(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    typed = command(space, results, "--set", "training.epochs=30")
    with subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while len(list(results.glob("checkpoints/*/last.pt"))) < 2:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        process.kill()
    time.sleep(2)  # until the trials' processes have noticed, and write no more
    running = [row["trial_key"] for row in read_rows(results, "trials") if row["status"] == "running"]
    damaged = [path for path in results.glob("checkpoints/*/last.pt") if path.parent.name in running]
    for path in damaged:
        path.write_bytes(b"no checkpoint")
    done = subprocess.run(typed, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert damaged and all(str(path) in done.stderr for path in damaged)
    assert_whole(results, PLANNED)


def test_a_second_driver_is_refused_and_a_dead_ones_study_is_taken_over(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with subprocess.Popen(
        command(space, results), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(results, 1, process)
        second = subprocess.run(command(space, results), capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 1
        assert f"Study 'small' is being run by process {process.pid} on host" in second.stderr
        assert "Traceback" not in second.stderr
        process.kill()
    done = subprocess.run(command(space, results), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert_whole(results, PLANNED)
    assert not (results / "claims").exists()


def test_results_that_cannot_be_written_are_read(moved: Path, space: Path) -> None:
    def typed(*arguments: str) -> str:
        return " ".join([sys.executable, "-m", "tune_qat", *arguments])

    script = f"""
    mount --bind {moved} {moved} && mount -o remount,bind,ro {moved} || exit 77
    {typed("status", str(moved))} && {typed("query", str(moved), "leaderboard")} || exit 78
    {" ".join(command(space, moved))}
    """
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no file system may be mounted here: {done.stderr}")
    assert done.returncode == 1, done.stderr
    assert "study small: complete" in done.stdout
    assert f"{moved} cannot be written to" in done.stderr and "Traceback" not in done.stderr


def test_a_clock_that_runs_backwards_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [datetime(1999, 12, 31, tzinfo=UTC)]

    def backwards() -> datetime:
        moment[0] -= timedelta(hours=1)
        return moment[0]

    monkeypatch.setattr(record, "now", backwards)
    study = tiny(quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 1, "retrain": 1})
    assert not run(study, results=tmp_path, budget=Budget(seconds=0.001)).complete
    assert run(study, results=tmp_path).complete
    assert_whole(tmp_path, {"pretrain": 1, "default": 2, "search": 2, "retrain": 2})
    assert read_rows(tmp_path, "studies")[0]["wall_s"] >= 0


def test_compaction_while_the_study_runs(tmp_path: Path, space: Path) -> None:
    from tune_qat.results.compaction import compact

    results, stop, merged = tmp_path / "results", threading.Event(), list[int]()

    def compact_on() -> None:
        while not stop.wait(0.3):
            merged.append(sum(study.before - study.after for study in compact(results)))

    thread = threading.Thread(target=compact_on)
    with subprocess.Popen(
        command(space, results), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(results, 1, process)
        thread.start()
        _, errors = process.communicate(timeout=300)
        stop.set()
        thread.join()
    assert process.returncode == 0, errors
    assert sum(merged) > 0
    assert_whole(results, PLANNED)
    compact(results)
    assert_whole(results, PLANNED)
    assert len(list((results / "trials").rglob("*.parquet"))) == 1
    assert run(small(), results=results).complete
