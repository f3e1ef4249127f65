"""Claims: one holder at a time, the dead make way, and clocks have no say."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.helpers.storage import Bucket
from tune_qat.config import TuneQatError
from tune_qat.results import claim
from tune_qat.results.claim import claimed
from tune_qat.storage.paths import StoragePath, storage_path, write_whole

pytestmark = pytest.mark.xdist_group("s3")

HOLD = """
import sys, time
from tune_qat.results.claim import claimed
from tune_qat.storage.paths import storage_path
with claimed(storage_path(sys.argv[1]), "study", "run"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT_S", 0.05)
    monkeypatch.setattr(claim, "LOOK_S", 0.02)


def folder_of(results: StoragePath) -> StoragePath:
    return results / "claims" / "run" / "study_id=study"


def stranger(results: StoragePath, **changes: object) -> StoragePath:
    """A claim of a process on another host; its file."""
    holder = replace(claim._ourselves(), machine="elsewhere", token="0" * 16, holding=True)
    return rewrite(folder_of(results) / f"{holder.token}.json", {**asdict(holder), **changes})


def rewrite(path: StoragePath, values: dict[str, object]) -> StoragePath:
    write_whole(path, json.dumps(values).encode())
    return path


@pytest.mark.parametrize("where", ["local", "s3"])
def test_a_second_driver_is_told_who_has_the_study(tmp_path: Path, bucket: Bucket, where: str) -> None:
    results = storage_path(str(tmp_path / "r") if where == "local" else f"{bucket.uri}/second")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(results)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(
            TuneQatError, match=f"'study' is being run by process {holder.pid} on this machine"
        ) as caught:
            with claimed(results, "study", "run"):
                raise AssertionError("two holders")
        assert caught.value.exit_code == 1
        with claimed(results, "study", "compact"), claimed(results, "other", "run"):
            pass  # for something else
        holder.kill()
    # The dead one's claim is still there, and is taken over.
    assert len(list(folder_of(results).glob("*.json"))) == 1
    with claimed(results, "study", "run"):
        assert len(list(folder_of(results).glob("*.json"))) == 1


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with claimed(tmp_path / "new", "study", "run"):
        assert (tmp_path / "new").exists()
    assert not (tmp_path / "new").exists()
    with pytest.raises(RuntimeError), claimed(tmp_path, "study", "run"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_silent_claim_from_another_host_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "SILENT_S", 0.2)
    path, said = stranger(tmp_path, since="2099-01-01"), list[str]()
    with claimed(tmp_path, "study", "run", say=said.append):
        assert not path.exists()
    assert len(said) == 1 and "on another machine" in said[0]


def test_a_claim_from_another_host_that_beats_stands(tmp_path: Path) -> None:
    path = stranger(tmp_path)
    values, stop = json.loads(path.read_bytes()), threading.Event()

    def beat() -> None:
        while not stop.wait(0.02):
            values["beat"] += 1
            rewrite(path, values)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(TuneQatError, match="on another machine"), claimed(tmp_path, "study", "run"):
            raise AssertionError("two holders")
    finally:
        stop.set()
        thread.join()


def test_a_later_process_with_the_same_number_is_another_one(tmp_path: Path) -> None:
    holder = replace(claim._ourselves(), pid=os.getppid(), process="an earlier start", holding=True)
    path = rewrite(folder_of(tmp_path) / "0.json", asdict(holder))
    with claimed(tmp_path, "study", "run"):
        assert not path.exists()


@pytest.mark.parametrize("alive", [True, False])
def test_a_claim_of_an_earlier_version_with_the_name_of_its_host(tmp_path: Path, alive: bool) -> None:
    """It holds the host's identity as it is; a process of this machine is known by it as before."""
    ours = replace(claim._ourselves(), token="0" * 16, pid=os.getppid(), holding=True, host=socket.gethostname())
    started = claim._process(os.getppid()) if alive else "an earlier start"
    path = rewrite(folder_of(tmp_path) / "0.json", {**asdict(ours), "machine": claim._identity(), "process": started})
    if alive:
        with pytest.raises(TuneQatError, match="on this machine"), claimed(tmp_path, "study", "run"):
            raise AssertionError("two holders")
    else:
        with claimed(tmp_path, "study", "run"):
            assert not path.exists()
    elsewhere = replace(ours, host="elsewhere", machine="elsewhere 17")
    assert "on host elsewhere" in str(elsewhere), "the name that is in the file is told"


def test_what_a_crash_leaves_names_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-cluster-07")
    with claimed(tmp_path, "study", "run"):
        (path,) = folder_of(tmp_path).glob("*.json")
        assert b"gpu-cluster-07" not in path.read_bytes()


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_holder_that_stood_still_learns_that_it_lost(tmp_path: Path, where: str) -> None:
    lost = list[str]()
    with claimed(tmp_path, "study", "run", lost=lost.append):
        (ours,) = folder_of(tmp_path).glob("*.json")
        if where == "elsewhere":
            theirs = stranger(tmp_path)
        else:
            parent = {"pid": os.getppid(), "process": claim._process(os.getppid()), "holding": True}
            theirs = rewrite(folder_of(tmp_path) / "0.json", {**asdict(claim._ourselves()), **parent})
        ours.unlink()
        wait_until(lambda: lost)
    assert len(lost) == 1 and "took the study over" in lost[0]
    assert list(tmp_path.rglob("*.json")) == [theirs]


@pytest.mark.parametrize("in_its_place", ["nothing", "an empty folder"])
def test_a_claim_outlives_a_lost_folder(tmp_path: Path, in_its_place: str) -> None:
    """As at a mount that goes and comes back: nobody has taken the study over, and nothing is written elsewhere."""
    results, lost = tmp_path / "results", list[str]()
    results.mkdir()
    with claimed(results, "study", "run", lost=lost.append):
        results.rename(tmp_path / "away")
        if in_its_place != "nothing":
            results.mkdir()
        time.sleep(0.3)
        assert not lost and results.exists() == (in_its_place != "nothing")
        if results.exists():
            results.rmdir()  # nothing was written there
        (tmp_path / "away").rename(results)
        (path,) = folder_of(results).glob("*.json")
        before = json.loads(path.read_bytes())["beat"]
        wait_until(lambda: json.loads(path.read_bytes())["beat"] > before + 1)
        assert json.loads(path.read_bytes())["beat"] > before + 1
        path.unlink()  # a folder that came back as it was before our claim
        wait_until(path.exists)
        assert path.exists() and not lost


def test_a_dead_claim_does_not_take_over(tmp_path: Path) -> None:
    lost = list[str]()
    with claimed(tmp_path, "study", "run", lost=lost.append):
        (ours,) = folder_of(tmp_path).glob("*.json")
        dead = replace(claim._ourselves(), holding=True, process="an earlier start", pid=os.getppid())
        rewrite(folder_of(tmp_path) / "0.json", asdict(dead))
        ours.unlink()
        wait_until(ours.exists)
        assert ours.exists() and not lost
        (folder_of(tmp_path) / "0.json").unlink()


def test_a_claim_that_storage_kept_does_not_hold_up_its_own_process(bucket: Bucket) -> None:
    """A study that ends because storage refuses everything cannot remove its claim; it may be run again from here."""
    results = storage_path(f"{bucket.uri}/kept")
    with claimed(results, "study", "run"):
        bucket.trouble.kind = "503"
    bucket.trouble.kind = None
    assert len(list(folder_of(results).glob("*.json"))) == 1
    with claimed(results, "study", "run"):
        assert len(list(folder_of(results).glob("*.json"))) == 1


def test_a_process_that_nobody_reaps_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        holder = replace(claim._ourselves(), pid=child.pid, process=claim._process(child.pid) or "", holding=True)
        path = rewrite(folder_of(tmp_path) / "0.json", asdict(holder))
        with pytest.raises(TuneQatError, match=f"process {child.pid}"), claimed(tmp_path, "study", "run"):
            raise AssertionError("two holders")
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        with claimed(tmp_path, "study", "run"):
            assert not path.exists()
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("others_hosts", [False, True])
def test_of_many_at_once_one_at_a_time_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others_hosts: bool
) -> None:
    if others_hosts:
        # Each sees the others as being elsewhere: liveness by beats alone.
        counter = iter(range(10**6))
        ourselves = claim._ourselves
        monkeypatch.setattr(claim, "_ourselves", lambda: replace(ourselves(), machine=f"host {next(counter)}"))
    inside, most, held, refused = [0], [0], [0], [0]
    lock = threading.Lock()

    def come() -> None:
        try:
            with claimed(tmp_path, "study", "run"):
                with lock:
                    inside[0] += 1
                    held[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.3)
                with lock:
                    inside[0] -= 1
        except TuneQatError:
            refused[0] += 1

    for _ in range(3):
        threads = [threading.Thread(target=come) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert most[0] == 1
    assert held[0] >= 3 and held[0] + refused[0] == 18


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_claim_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = folder_of(tmp_path) / "0.json"
    write_whole(path, content)
    with pytest.raises(TuneQatError, match=r"0\.json does not say which process"), claimed(tmp_path, "study", "run"):
        raise AssertionError("held beside it")
    assert path.exists()


def test_it_says_which_process_it_is(tmp_path: Path) -> None:
    with claimed(tmp_path, "study", "run"):
        (path,) = folder_of(tmp_path).glob("*.json")
        values = json.loads(path.read_bytes())
    assert values["pid"] == os.getpid()
    assert claim._process(os.getpid()) == values["process"]
    assert claim._process(2**22 + 1) is None
