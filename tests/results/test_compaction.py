"""Compaction: every reader gives the same before, during and after, whatever is killed on the way."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.rows import epoch_result, filled, layer_result, write
from tests.helpers.storage import Bucket
from tests.importing.sweeps import typed
from tune_qat.config import TuneQatError
from tune_qat.results import compaction
from tune_qat.results.compaction import compact
from tune_qat.results.layout import record_files, table_folder
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.schema import TABLES
from tune_qat.results.views import connect
from tune_qat.results.writer import EpochLog
from tune_qat.storage.paths import StoragePath, storage_path, write_whole

pytestmark = pytest.mark.xdist_group("s3")


def write_trial(
    results: StoragePath, key: str, status: str = "completed", *, attempts: int = 2, study: str = "study"
) -> None:
    """A trial that was cut off at epoch 2 of 3 in each attempt but the last."""
    for attempt in range(1, attempts + 1):
        log = EpochLog(results, "study", key)
        for epoch in range(1 if attempt == 1 else 2, 4 if attempt == attempts else 3):
            log.append(epoch_result(epoch, train_loss=float(attempt), layers=(layer_result("conv", attempt / 8),)))
    write(
        results,
        study,
        "decisions",
        key,
        filled("decisions", trial_key=key, rung=1),
        filled("decisions", trial_key=key, rung=2),
    )
    write(results, study, "trials", key, filled("trials", trial_key=key, status=status, epochs_run=3))


def everything(results: StoragePath) -> dict[str, Any]:
    """What readers give: views, rows and single trials."""
    following, once = connect(results), connect(results, follow=False)
    answers: dict[str, Any] = {}
    for table in TABLES:
        answers[table] = following.sql(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        assert once.sql(f"SELECT * FROM {table} ORDER BY ALL").fetchall() == answers[table]
    answers["rows"] = sorted(map(repr, read_rows(results, "trials")))
    answers["epochs of"] = {key: last_epochs(results, "study", key) for key in ("a", "b", "running")}
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "s3"])
def test_many_files_become_few_and_every_answer_stays(tmp_path: Path, bucket: Bucket, where: str) -> None:
    results = storage_path(str(tmp_path) if where == "local" else f"{bucket.uri}/compact")
    for key in "abcde":
        write_trial(results, key)
    write_trial(results, "running", "running")
    write_trial(results, "cut", "interrupted")
    write(results, "study", "arms", "arms", filled("arms"))
    before = everything(results)
    (done,) = compact(results)
    assert everything(results) == before
    # Of each table one file, beside those of the two trials that have not ended (of epochs and layers two attempts).
    assert (done.before, done.after) == (7 * 6, 4 + 2 * 6)
    assert [path.name for path in record_files(table_folder(results, "trials", "study"))] == [
        "compact-1.parquet", "cut.parquet", "running.parquet"
    ]  # fmt: skip
    assert (compact(results)[0].before, compact(results)[0].after) == (16, 16)
    write_trial(results, "late")
    assert compact(results)[0].after == 16
    assert len(read_rows(results, "trials")) == 8


def test_a_file_of_a_trial_counts_before_a_compacted_one(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    compact(tmp_path)
    # It is run again, and has not ended yet.
    write(tmp_path, "study", "trials", "a", filled("trials", trial_key="a", status="running"))
    assert [row["status"] for row in read_rows(tmp_path, "trials")] == ["running"]
    assert connect(tmp_path).sql("SELECT status FROM trials").fetchall() == [("running",)]
    compact(tmp_path)
    assert [row["status"] for row in read_rows(tmp_path, "trials")] == ["running"]
    write(tmp_path, "study", "trials", "a", filled("trials", trial_key="a", status="diverged"))
    compact(tmp_path)
    assert [path.name for path in record_files(table_folder(tmp_path, "trials", "study"))] == ["compact-2.parquet"]
    assert connect(tmp_path).sql("SELECT status FROM trials").fetchall() == [("diverged",)]


@pytest.mark.slow
def test_attempts_are_looked_for_unless_all_files_are_merged_into_one(tmp_path: Path) -> None:
    asked = "SELECT contains(sql, 'row_number') FROM duckdb_views() WHERE view_name = 'epochs'"

    def looks(*, follow: bool = False) -> bool:
        everything(tmp_path)
        return bool(connect(tmp_path, follow=follow).execute(asked).fetchall()[0][0])

    write_trial(tmp_path, "a")
    assert looks()
    compact(tmp_path)
    assert not looks() and looks(follow=True)
    merged = table_folder(tmp_path, "epochs", "study") / "compact-1.parquet"
    merged.with_name("compact-2.parquet").write_bytes(merged.read_bytes())  # cut off before the first is removed
    assert looks()
    merged.unlink()
    assert not looks()
    write_trial(tmp_path, "b", "running")
    assert looks()


@pytest.fixture(scope="module")
def before_compaction(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two trials that have ended and one that runs, and what readers give; nothing in the folder may be changed."""
    results = tmp_path_factory.mktemp("before") / "results"
    for key in ("a", "b", "running"):
        write_trial(results, key, "running" if key == "running" else "completed")
    return results, everything(results)


@pytest.mark.parametrize("stop_at", range(12))
def test_a_crash_between_any_two_steps_changes_no_answer(
    before_compaction: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    made, before = before_compaction
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    steps = iter(range(1000))

    def counted(step: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            if next(steps) == stop_at:
                raise KeyboardInterrupt
            return step(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "write_whole", counted(write_whole))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)
    assert everything(tmp_path) == before
    shutil.rmtree(tmp_path / "claims", ignore_errors=True)
    compact(tmp_path)
    assert everything(tmp_path) == before


def test_a_damaged_file_is_named_and_nothing_is_removed(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    path = write(tmp_path, "study", "epochs", "a.2", filled("epochs", trial_key="a", attempt=2))
    path.write_bytes(path.read_bytes()[:-9])
    files = {one: one.read_bytes() for one in tmp_path.rglob("*.parquet")}
    with pytest.raises(TuneQatError, match=r"a\.2\.parquet cannot be read"):
        compact(tmp_path)
    assert {one: one.read_bytes() for one in tmp_path.rglob("*.parquet")} == files


COMPACT_FOR_EVER = """
import sys
from pathlib import Path
from tune_qat.results.compaction import compact
while True:
    compact(Path(sys.argv[1]))
    print("done", flush=True)
"""


@pytest.mark.slow
def test_a_study_runs_and_is_read_while_compaction_is_killed_again_and_again(tmp_path: Path) -> None:
    moments = random.Random(0)
    write_trial(tmp_path, "t0", attempts=1)
    count = 1
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", COMPACT_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE) as other:
            assert other.stdout is not None and other.stdout.readline()
            until = time.monotonic() + moments.uniform(0.2, 1.0)
            while time.monotonic() < until:
                write_trial(tmp_path, f"t{count}", attempts=1)
                count += 1
                assert len(read_rows(tmp_path, "trials")) == count
                assert len(last_epochs(tmp_path, "study", f"t{moments.randrange(count)}")) == 3
            assert other.poll() is None
            other.kill()
    compact(tmp_path)
    connection = connect(tmp_path)
    for table, rows in (("trials", 1), ("epochs", 3), ("layers", 3), ("decisions", 2)):
        assert connection.sql(f"SELECT count(*) FROM {table}").fetchall() == [(rows * count,)]
    assert [path.name for path in (tmp_path / "trials" / "study_id=study").glob("[!.]*")] != []


def test_one_trial_is_read_from_the_parts_of_a_file_that_may_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_qat.results.compaction.ROWS_OF_A_PART", 2)
    for key in "abcde":
        write_trial(tmp_path, key)
    tables = ("epochs", "layers")
    before = {(key, table): last_epochs(tmp_path, "study", key, table) for key in "abcdef" for table in tables}
    compact(tmp_path)
    assert {(key, table): last_epochs(tmp_path, "study", key, table) for key, table in before} == before
    assert [len(before[key, "layers"]) for key in "af"] == [3, 0]


def unwritable(results: Path, kind: str) -> None:
    if kind == "a file in the way":  # of what is written, whoever writes
        (results / "claims").write_text("")
        return
    if os.geteuid() == 0:
        pytest.skip("for root no folder is read-only")
    for folder in [results, *(path for path in results.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)


@pytest.mark.parametrize("kind", ["a file in the way", "read-only"])
def test_a_folder_that_cannot_be_written_is_named_and_as_it_was(tmp_path: Path, kind: str) -> None:
    results = tmp_path / "results"
    for key in ("one", "two"):
        write_trial(results, key)
    unwritable(results, kind)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    refused = typed("compact", results)
    assert isinstance(refused.exception, TuneQatError), refused.exception
    assert f"{results} cannot be compacted: " in str(refused.exception)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before
