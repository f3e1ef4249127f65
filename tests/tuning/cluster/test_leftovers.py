"""Temporary folders of runs that are gone are removed, and no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tune_qat.tuning.cluster.leftovers import LOCK, SCRATCH, held, remove_left

HOLD = """
import sys, time
from pathlib import Path
from tune_qat.tuning.cluster.leftovers import held
folder = Path(sys.argv[1])
folder.mkdir()
with held(folder):
    print("held", flush=True)
    time.sleep(600)
"""


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_a_folder_in_use_stays_and_that_of_a_killed_process_goes(tmp_path: Path) -> None:
    folder = tmp_path / f"{SCRATCH}a"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        (folder / "inside").mkdir()
        remove_left(tmp_path, SCRATCH)
        assert folder.exists()
        process.send_signal(signal.SIGKILL)
    remove_left(tmp_path, SCRATCH)
    assert names(tmp_path) == set()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    for name in (f"{SCRATCH}without", "other", f"{SCRATCH}theirs"):
        (tmp_path / name).mkdir()
    for name in ("other", f"{SCRATCH}theirs"):
        with held(tmp_path / name):
            pass
    if os.geteuid() == 0:
        os.chown(tmp_path / f"{SCRATCH}theirs" / LOCK, 12345, 12345)
    else:
        (tmp_path / f"{SCRATCH}theirs" / LOCK).unlink()
    (tmp_path / f"{SCRATCH}link").symlink_to(tmp_path / "other")
    remove_left(tmp_path, SCRATCH)
    assert names(tmp_path) == {f"{SCRATCH}without", "other", f"{SCRATCH}theirs", f"{SCRATCH}link"}
    assert names(tmp_path / "other") == {LOCK}


def test_of_this_process_too_one_goes_when_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / f"{SCRATCH}a"
    folder.mkdir()
    with pytest.raises(ValueError), held(folder):
        remove_left(tmp_path, SCRATCH)
        assert folder.exists()
        raise ValueError
    remove_left(tmp_path, SCRATCH)
    assert not folder.exists()
