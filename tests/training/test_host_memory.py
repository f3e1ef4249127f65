"""Memory of a process, each in a process of its own: settings and peaks are of the whole process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tune_qat.training import host_memory

STATUS, RESTART = Path("/proc/self/status"), Path("/proc/self/clear_refs")
has_peak = STATUS.exists() and "VmHWM:" in STATUS.read_text(encoding="ascii")
needs_proc = pytest.mark.skipif(not has_peak, reason="needs /proc with the peak of resident memory")
needs_restart = pytest.mark.skipif(not os.access(RESTART, os.W_OK), reason=f"needs {RESTART} to write to")


def printed(script: str) -> list[float]:
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [float(word) for word in ran.stdout.split()]


@needs_proc
@needs_restart
def test_peak_rises_with_what_is_touched_and_starts_again() -> None:
    start, peak, after, again = printed(
        "from tune_qat.training.host_memory import *\n"
        "restart_peak(); start = resident_mb()\n"
        "held = bytearray(200_000_000); peak = peak_resident_mb(); del held\n"
        "give_back(); restart_peak()\n"
        "print(start, peak, resident_mb(), peak_resident_mb())"
    )
    assert peak - start > 190
    assert after - start < 50 and again - start < 50


@needs_proc
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    start, kept, given_back = printed(
        "from tune_qat.training.host_memory import *\n"
        "assert keep_freed() is keep_freed()\n"
        "start = resident_mb()\n"
        "held = [bytearray(1_000_000) for _ in range(100)]; del held\n"
        "kept = resident_mb() if keep_freed() else start + 100\n"
        "give_back(); print(start, kept, resident_mb())"
    )
    assert kept - start > 90
    assert given_back - start < 20


def test_without_proc_there_is_no_figure_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **options: object) -> str:
        raise OSError("no /proc")

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(Path, "write_text", missing)
    host_memory.restart_peak()
    assert host_memory.resident_mb() == host_memory.peak_resident_mb() == 0.0
