"""Studies on storage that fails: object storage, full disks, a clock that runs backwards, compaction meanwhile."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.helpers.namespaces import in_namespaces
from tests.helpers.quota_files import LIMIT, REFUSED
from tests.helpers.runs import assert_whole, begun, command, study_file, wait_for
from tests.helpers.storage import Bucket
from tests.helpers.studies import SMALL as PLANNED
from tests.helpers.studies import small
from tests.helpers.without_ray import run_here
from tune_qat.config import StorageRefused
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import storage_path
from tune_qat.storage.retry import Patience
from tune_qat.tuning import record
from tune_qat.tuning.budget import Budget
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]


def test_a_study_on_object_storage_survives_its_driver(bucket: Bucket, tmp_path: Path, tune_qat: Any) -> None:
    study, results = small(epochs=2), storage_path(f"{bucket.uri}/a study")
    with begun(study_file(tmp_path, study), results) as process:
        wait_for(results, 3, process)
        process.kill()
    run_here(study, results)
    assert_whole(results, PLANNED)
    rows = read_rows(results, "trials")
    assert len({row["init_checkpoint_sha256"] for row in rows if row["stage"] != "pretrain"}) == 1
    kept = {path.parent.name for path in (results / "checkpoints").glob("study_id=small/*/last.pt")}
    assert kept == {row["trial_key"] for row in rows if row["stage"] in ("pretrain", "retrain")}
    assert all(bucket.objects().values()), "an object without content, as of a folder's name"
    # Run again with nothing left to do, and asked: by the commands.
    done = tune_qat("run", str(study_file(tmp_path, study)), "--results", str(results), "--no-progress")
    assert done.code == 0 and str(results) in done.out
    answer = tune_qat("query", str(results), "SELECT count(*) AS n FROM epochs", "--format", "csv")
    assert answer.out.split() == ["n", str(sum(row["epochs_run"] for row in rows))], answer.err


class TestFullDisk:
    """A disk that really fills up: a tmpfs where one may be mounted, and a file system with a quota anywhere."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        """Nearly full."""
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / LIMIT).write_text("400000")
        return tmp_path / "disk"

    def test_a_study_waits_until_there_is_room(self, disk: Path) -> None:
        waiting, ended = list[bool](), threading.Event()

        def make_room() -> None:
            while not (disk / REFUSED).exists():
                if ended.wait(0.02):
                    return
            waiting.append(not ended.wait(1.0))
            (disk / LIMIT).write_text("100000000")

        thread = threading.Thread(target=make_room)
        thread.start()
        try:
            results = storage_path(f"quota://{disk}/results")
            run_here(small(), results, patience=Patience(results, 300.0))
        finally:
            ended.set()
            thread.join()
        assert waiting == [True]
        assert_whole(disk / "results", PLANNED)

    def test_a_study_stops_cleanly_and_goes_on(self, disk: Path) -> None:
        results = storage_path(f"quota://{disk}/results")
        with pytest.raises(StorageRefused, match="cannot be written: No space left on device.*run the same command"):
            run_here(small(), results, patience=Patience(results, 1.0))
        for table in ("trials", "epochs", "layers", "decisions", "arms", "studies"):
            read_rows(disk / "results", table)  # every file is whole
        (disk / LIMIT).write_text("100000000")
        run_here(small(), results)
        assert_whole(disk / "results", PLANNED)

    def test_on_a_disk_of_its_own(self, tmp_path: Path) -> None:
        """Really full, and by the command: a tmpfs. The study goes on where there is room."""
        typed = command(study_file(tmp_path, small()), tmp_path / "disk" / "results", "--storage-patience", "1s")
        script = f"""
        mkdir {tmp_path}/disk && mount -t tmpfs -o size=2m tmpfs {tmp_path}/disk || exit 77
        head -c 1600000 /dev/zero > {tmp_path}/disk/filler
        {" ".join(typed)} > {tmp_path}/shown 2>&1; echo $? >> {tmp_path}/shown
        cp -r {tmp_path}/disk/results {tmp_path}/copy
        """
        in_namespaces(script)
        shown = (tmp_path / "shown").read_text()
        assert "cannot be written: No space left on device" in shown and shown.endswith("\n1\n"), shown
        assert "run the same command again" in shown and "Traceback" not in shown
        run_here(small(), tmp_path / "copy")
        assert_whole(tmp_path / "copy", PLANNED)


def test_a_time_budget_ends_a_study_that_goes_on_later_even_where_the_clock_runs_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [datetime(1999, 12, 31, tzinfo=UTC)]

    def backwards() -> datetime:
        moment[0] -= timedelta(hours=1)
        return moment[0]

    monkeypatch.setattr(record, "now", backwards)
    run_here(small(), tmp_path, budget=Budget(seconds=0.001))
    assert [row["complete"] for row in read_rows(tmp_path, "studies")] == [False]
    run_here(small(), tmp_path)
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
