"""Systems that lack what Linux has: the calls are taken away, as on macOS and on Windows."""

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tune_qat
from tests.data.test_pixel_file import images, written
from tune_qat.config import TuneQatError, system
from tune_qat.tuning.cluster.local import check_room
from tune_qat.tuning.cluster.machine import usable_cpus

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "results" / "espcn_photos" / "record"
NOT_EVERYWHERE = {
    *("sched_getaffinity", "sched_setaffinity", "posix_fallocate", "getuid", "geteuid", "getgid", "fork", "killpg"),
    *(
        "setsid",
        "statvfs",
        "fstatvfs",
        "sysconf",
        "getloadavg",
        "nice",
        "mkfifo",
        "SIGHUP",
        "O_DIRECTORY",
        "O_NOFOLLOW",
    ),
}
MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"}
AS_ON_WINDOWS = """
import os, signal, sys
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "posix_fallocate", "getuid", "geteuid", "fstatvfs", "statvfs", "sysconf", "killpg"):
    delattr(os, name)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL"):
    delattr(signal, name)
del signal.pthread_kill
"""
COMMANDS = """
from tune_qat import cli
for words in {commands!r}:
    sys.argv = ["tune-qat", *words]
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    print(words[0], "ended with", code, flush=True)
"""


@pytest.fixture
def as_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.delattr("os.posix_fallocate")


class TestMacOS:
    def test_all_cpus_of_the_machine_count(self, as_on_macos: None) -> None:
        assert system.allowed_cpus() == os.cpu_count()
        assert 1 <= usable_cpus() <= system.allowed_cpus()

    def test_disks_are_asked_for_room(self, as_on_macos: None, tmp_path: Path) -> None:
        check_room(tmp_path, "TMPDIR")
        assert np.array_equal(written(tmp_path).open().images, images())
        with (tmp_path / "file").open("wb") as file, pytest.raises(OSError) as caught:
            system.reserve(file.fileno(), 2**60)
        assert caught.value.errno == errno.ENOSPC


class TestWindows:
    @pytest.mark.slow
    def test_a_record_is_read_and_not_written(self, tmp_path: Path) -> None:
        reading = [["--version"], ["status", str(RECORD)], ["query", str(RECORD), "best_trial"]]
        writing = [["run", "quickstart"], ["compact", str(RECORD)]]
        code = AS_ON_WINDOWS + COMMANDS.format(commands=reading + writing)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True
        )
        ended = [line for line in done.stdout.splitlines() if " ended with " in line]
        assert ended == [f"{words[0]} ended with 0" for words in reading] + ["run ended with 1", "compact ended with 1"]
        said = done.stderr.splitlines()
        assert len(said) == 2 and all("needs Linux or macOS" in line for line in said), done.stderr
        assert not list(tmp_path.iterdir())

    def test_modules_are_imported(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in MODULES:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delattr(os, "getuid")
        monkeypatch.delattr(signal, "SIGHUP")
        spec = importlib.util.spec_from_file_location("bare", system.__file__)
        assert spec is not None and spec.loader is not None
        bare = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(bare)
        assert not bare.POSIX and bare.user_number() == 0 and bare.home_in_system() is None
        assert bare.most_open_files() == bare.OPEN_FILES
        assert bare.signals("SIGTERM", "SIGHUP") == (signal.SIGTERM,)
        with (tmp_path / "file").open("wb") as file, pytest.raises(OSError):
            bare.lock(file, wait=False)
        bare.flush_folder(tmp_path / "which is not there")

    def test_no_process_is_ended_by_asking_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "POSIX", False)
        monkeypatch.setattr(os, "kill", lambda *given: pytest.fail("a signal was sent"))
        assert system.process_exists(1)
        with pytest.raises(TuneQatError, match="tune-qat run needs Linux or macOS"):
            system.check_writes_records("tune-qat run")


def test_processes_are_found_without_proc() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert system.process_exists(os.getpid()) and system.process_exists(1) and not system.process_exists(ended.pid)


def test_such_differences_have_one_home() -> None:
    told = re.compile(
        rf"os\.(?:{'|'.join(NOT_EVERYWHERE)})\b|signal\.SIG(?:HUP|KILL)\b|^ *import (?:{'|'.join(MODULES)})$", re.M
    )
    files = [*Path(tune_qat.__file__).parent.rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]
    found = {path.name: told.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {name for name, calls in found.items() if calls} == {"system.py"} and len(found["system.py"]) > 8
