"""Storage that goes in the middle of a study, for shorter and for longer than it is waited for."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.namespaces import in_namespaces
from tests.helpers.runs import assert_whole, command, study_file
from tests.helpers.shared_cluster import SharedCluster
from tests.helpers.storage import Bucket
from tests.helpers.studies import SMALL, small
from tests.helpers.without_ray import run_here
from tune_qat.config import StorageRefused
from tune_qat.results.reader import read_rows
from tune_qat.results.repair import repair
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.tuning.run import run
from tune_qat.tuning.signals import STOPPING

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]


class TestLostShare:
    """A results folder that goes, with or without an empty one in its place, and comes back."""

    def test_it_comes_back_in_time(self, tmp_path: Path) -> None:
        """Really unmounted, and mounted again, while the command runs; renamed where nothing may be mounted."""
        results, store = tmp_path / "results", tmp_path / "store"
        typed = " ".join(command(study_file(tmp_path, small()), results, "--max-concurrent", "1"))
        script = f"""
        mkdir {results} {store} && mount -t tmpfs tmpfs {store} && mkdir {store}/r || exit 77
        mount --bind {store}/r {results} || exit 77
        {typed} > {tmp_path}/shown 2>&1 & run=$!
        until [ "$(ls {results}/trials/*/ 2>/dev/null | wc -l)" -ge 3 ]; do kill -0 $run || break; sleep 0.1; done
        umount -l {results}; sleep 2; ls -A {results} > {tmp_path}/meanwhile
        mount --bind {store}/r {results}
        wait $run; echo $? >> {tmp_path}/shown
        cp -r {results} {tmp_path}/copy
        """
        try:
            in_namespaces(script)
        except pytest.skip.Exception:
            with lost_once(tmp_path / "copy", seconds=3.0) as gone:
                assert run(small(), results=tmp_path / "copy", max_concurrent=1).complete and gone == [True]
        else:
            shown = (tmp_path / "shown").read_text()
            assert shown.endswith("\n0\n"), shown
            assert (tmp_path / "meanwhile").read_text() == "", "something was written to the empty mount point"
        assert_whole(tmp_path / "copy", SMALL)
        assert not (tmp_path / "copy" / "claims").exists()

    def test_it_is_gone_for_longer(self, tmp_path: Path) -> None:
        results = tmp_path / "results"
        with lost_once(results, seconds=None) as gone:
            began = time.monotonic()
            with pytest.raises(StorageRefused, match="results folder is gone.*run the same command again.*\nresume"):
                run(small(), results=results, storage_patience=1.0, max_concurrent=1, again="resume")
        assert gone == [True] and time.monotonic() - began < 90
        if results.exists():
            results.rmdir()  # nothing was written there
        (tmp_path / "away").rename(results)
        run_here(small(), results)
        assert_whole(results, SMALL)


@contextmanager
def lost_once(results: Path, *, seconds: float | None) -> Iterator[list[bool]]:
    """The folder is renamed away in the middle of a study, and comes back after as many seconds, or not at all."""
    gone, ended = list[bool](), threading.Event()

    def lose() -> None:
        while len(list((results / "trials").glob("*/[!.]*.parquet"))) < 3:
            if ended.wait(0.02):
                return
        results.rename(results.with_name("away"))
        results.mkdir()
        gone.append(True)
        if seconds is not None:
            time.sleep(seconds)
            results.rmdir()
            results.with_name("away").rename(results)

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        yield gone
    finally:
        ended.set()
        thread.join()


class TestObjectStorageThatFails:
    """A server that refuses, gives half of everything, or does not answer, from the middle of a study on."""

    @pytest.fixture(scope="class", autouse=True)
    def processes(self, bucket: Bucket, shared_cluster: SharedCluster) -> None:
        """Of trials that know where the server is."""
        shared_cluster.end()

    def test_for_shorter_than_the_patience(self, bucket: Bucket) -> None:
        results = storage_path(f"{bucket.uri}/shorter")
        with failing_once(bucket, results, "503", "half", "silent", seconds=1.5) as kinds:
            assert run(small(), results=str(results), storage_patience=300.0, max_concurrent=1).complete
        assert kinds == ["503", "half", "silent"]
        assert_whole(results, SMALL)
        assert not list((results / "damaged").glob("*"))

    def test_for_longer(self, bucket: Bucket) -> None:
        results = storage_path(f"{bucket.uri}/longer")
        with failing_once(bucket, results, "503", seconds=None) as kinds, pytest.raises(StorageRefused) as stopped:
            run(small(), results=str(results), storage_patience=3.0, max_concurrent=1, again="resume")
        assert kinds == ["503"] and time.monotonic() - bucket.trouble.since < 60
        assert str(stopped.value).endswith("run the same command again.\nresume")
        assert list(repair(results, "small")) == [], "what is not given is not damaged"
        assert {row["status"] for row in read_rows(results, "trials")} <= {"completed", "stopped", "running"}

    def test_one_ctrl_c_ends_the_wait(self, bucket: Bucket, capfd: pytest.CaptureFixture[str]) -> None:
        results = storage_path(f"{bucket.uri}/stopped")

        def stop() -> None:
            time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=stop)
        with failing_once(bucket, results, "503", seconds=None, then=thread.start), suppress(StorageRefused):
            assert run(small(), results=str(results), max_concurrent=1).stopped_by == "user"
        thread.join()
        assert time.monotonic() - bucket.trouble.since < 60
        assert STOPPING in capfd.readouterr().err


@contextmanager
def failing_once(
    bucket: Bucket,
    results: StoragePath,
    *kinds: str,
    seconds: float | None,
    then: Callable[[], object] = lambda: None,
) -> Iterator[list[str]]:
    """Each kind of trouble for as many seconds, the next one a trial later; None for as long as the block runs.

    `then` is called once there is trouble.
    """
    begun, ended = list[str](), threading.Event()

    def fail() -> None:
        for trials, kind in enumerate(kinds, start=2):
            while len(list((results / "trials").glob("*/*.parquet"))) < trials:
                if ended.wait(0.05):
                    return
            begun.append(kind)
            bucket.trouble.kind, bucket.trouble.since = kind, time.monotonic()
            then()
            ended.wait(seconds)
            bucket.trouble.kind = None

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        yield begun
    finally:
        ended.set()
        thread.join()
