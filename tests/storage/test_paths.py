"""Places: the same on this machine's disk, on object storage (a real server on loopback) and through fsspec."""

import errno
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.helpers.storage import Bucket
from tune_qat.config import NotRead, StorageRefused, UsageError
from tune_qat.results.claim import claimed
from tune_qat.storage import retry as patience_module
from tune_qat.storage.paths import StoragePath, move, read_whole, remove_folder, storage_path, write_whole
from tune_qat.storage.probe import probe
from tune_qat.storage.retry import Patience

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3), "fsspec"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    if request.param == "s3":
        return storage_path(f"{request.getfixturevalue('bucket').uri}/{uuid.uuid4().hex}")
    return storage_path({"local": str(tmp_path / "r"), "fsspec": f"memory://{uuid.uuid4().hex}/r"}[request.param])


def test_what_is_written_is_read_and_replaced(root: StoragePath) -> None:
    path = root / "a" / "b.bin"
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    for data in (b"one", b"", b"three" * 3_000_000):  # the last one takes several parts of an upload
        write_whole(path, data)
        assert path.exists() and path.read_bytes() == data
    assert (path.name, path.parent.name) == ("b.bin", "a")


def test_files_are_listed_by_pattern_and_by_folder(root: StoragePath) -> None:
    assert list(root.glob("*")) == []
    for name in ("t/study_id=1/a.parquet", "t/study_id=1/.b.parquet", "t/study_id=2/c.parquet", "t/other/d.parquet"):
        folder, _, last = name.rpartition("/")
        place_of = root
        for part in folder.split("/"):
            place_of = place_of / part
        write_whole(place_of / last, b"x")
    found = sorted(str(path) for path in (root / "t").glob("study_id=*/[!.]*.parquet"))
    assert found == [str(root / "t" / "study_id=1" / "a.parquet"), str(root / "t" / "study_id=2" / "c.parquet")]
    # What a listing gives can be read.
    assert {path.read_bytes() for path in (root / "t").glob("study_id=*/*.parquet")} == {b"x"}


def test_files_and_folders_are_moved_and_removed(root: StoragePath) -> None:
    write_whole(root / "a" / "one", b"1")
    write_whole(root / "a" / "two", b"2")
    move(root / "a" / "one", root / "c" / "uno")
    assert not (root / "a" / "one").exists() and (root / "c" / "uno").read_bytes() == b"1"
    (root / "c" / "uno").unlink()
    (root / "c" / "uno").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (root / "c" / "uno").unlink()
    remove_folder(root / "a")
    remove_folder(root / "a")
    assert not (root / "a" / "two").exists()


def test_nothing_is_left_of_what_is_removed_from_object_storage(bucket: Bucket) -> None:
    root = storage_path(f"{bucket.uri}/{uuid.uuid4().hex}")
    before = bucket.objects()
    for name in ("kept/a", "folder/one", "folder/inside/two", "single"):
        write_whole(root / name, b"x")
    with claimed(root, "study", "run"), probe(root):
        pass
    remove_folder(root / "folder")
    (root / "single").unlink()
    move(root / "kept/a", root / "moved/b")
    left = {key: size for key, size in bucket.objects().items() if key not in before}
    assert list(left.values()) == [1] and next(iter(left)).endswith("/moved/b")


def test_storage_that_fails_is_asked_for_seconds(bucket: Bucket) -> None:
    """It may be asked again: a call that goes on for minutes holds the study, and Ctrl-C with it."""
    path = storage_path(f"{bucket.uri}/{uuid.uuid4().hex}/a")
    write_whole(path, b"x" * 1000)
    for kind in ("503", "half"):
        began = time.monotonic()
        with bucket.failing(kind), pytest.raises(StorageRefused, match="a cannot be read.*run the same command again"):
            Patience(path.parent, 1.0).read(lambda: read_whole(path))
        assert time.monotonic() - began < 5.0, kind
    with bucket.failing("503"), pytest.raises(OSError, match="a cannot be removed"):
        path.unlink(missing_ok=True)
    assert path.read_bytes() == b"x" * 1000


def test_a_path_is_its_name_and_travels_to_other_processes(bucket: Bucket) -> None:
    path = storage_path(f"{bucket.uri}/r/") / "a"
    write_whole(path, b"here")
    assert storage_path(str(path)) == path
    code = f"from tune_qat.storage.paths import storage_path; print(storage_path({str(path)!r}).read_bytes())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "b'here'\n"


def test_paths_stay_as_typed_and_home_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert storage_path("results") == Path("results")
    assert storage_path("~/results") == tmp_path / "home" / "results"
    assert storage_path(f"file://{tmp_path}/x") == tmp_path / "x"
    assert storage_path("file:///a%20b/c%23d") == Path("/a b/c#d")


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("nonsense://a/b", UsageError, "no file system for it is known"),
        ("sftp://nowhere/b", UsageError, "no file system for it is known"),
        ("s3://key:secret@bucket/a", UsageError, "holds a password"),
        ("s3:///nobucket", UsageError, "names no bucket"),
        ("file://results/a", UsageError, "names the host 'results'"),
    ],
)
def test_a_uri_that_leads_nowhere_is_named(uri: str, error: type[UsageError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        storage_path(uri)
    assert "secret" not in str(caught.value)


class TestPatience:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience_module, "FIRST_PAUSE_S", 0.01)

    def test_a_write_waits_until_storage_is_back(self, tmp_path: Path) -> None:
        results, said = tmp_path / "share", list[str]()

        def say(text: str) -> None:
            said.append(text)
            results.mkdir()

        Patience(results, 60.0, say).write_whole(results / "a" / "b", b"x")
        assert (results / "a" / "b").read_bytes() == b"x"
        assert len(said) == 1 and "the results folder is gone" in said[0]

    def test_once_spent_nothing_waits_any_more(self, tmp_path: Path) -> None:
        patience = Patience(tmp_path / "gone", 0.05)
        with pytest.raises(StorageRefused, match="run the same command again"):
            patience.write_whole(tmp_path / "gone" / "a", b"x")
        patience.seconds = 1e9
        with pytest.raises(StorageRefused):
            patience.write_whole(tmp_path / "gone" / "b", b"x")
        assert not (tmp_path / "gone").exists()

    def test_a_read_waits_as_a_write_does(self, tmp_path: Path) -> None:
        results, said, answers = tmp_path, list[str](), iter([OSError(errno.EIO, "Input/output error"), NotRead("a")])

        def read() -> str:
            for error in answers:
                raise error
            return "there"

        assert Patience(results, 60.0, said.append).read(read) == "there"
        assert len(said) == 1 and "cannot be read: Input/output error" in said[0]
        write_whole(results / "row", b"x")
        with pytest.raises(StorageRefused, match="cannot be read: Not a directory.*run the same command again"):
            Patience(results, 0.0).read(lambda: read_whole(results / "row" / "x"))

    def test_an_empty_mount_point_is_not_the_results_folder(self, tmp_path: Path) -> None:
        """What is read there would say that nothing has run, and what is written would be lost."""
        results = tmp_path / "results"
        write_whole(results / "row", b"x")
        results.rename(tmp_path / "away")
        results.mkdir()
        patience = Patience(results, 0.05, landmark=results / "row")
        with pytest.raises(StorageRefused, match="the results folder is gone"):
            patience.read(lambda: list(results.iterdir()))
        with pytest.raises(StorageRefused, match="the results folder is gone"):
            patience.write_whole(results / "a", b"x")
        assert list(results.iterdir()) == []

    def test_a_folder_that_is_lost_while_it_is_read_is_read_again(self, tmp_path: Path) -> None:
        results = tmp_path / "results"
        write_whole(results / "row", b"x")

        def say(text: str) -> None:
            (tmp_path / "away").rename(results)

        def read() -> list[str]:
            if said:
                results.rename(tmp_path / said.pop())
            return [path.name for path in results.glob("*")]

        said = ["away"]
        assert Patience(results, 60.0, say).read(read) == ["row"]

    def test_a_wait_ends_once_the_study_is_to_stop(self, tmp_path: Path) -> None:
        patience = Patience(tmp_path / "gone", 600.0)
        threading.Timer(0.2, lambda: setattr(patience, "spent", True)).start()
        began = time.monotonic()
        with pytest.raises(StorageRefused):
            patience.write_whole(tmp_path / "gone" / "a", b"x")
        assert time.monotonic() - began < 10.0

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, real = tmp_path / "a", os.fsync
        write_whole(path, b"old")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageRefused, match="No space left on device"):
            Patience(tmp_path, 0.05).write_whole(path, b"new")
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
        monkeypatch.setattr(os, "fsync", real)
        Patience(tmp_path, 0.05).write_whole(path, b"new")
        assert path.read_bytes() == b"new"
