"""Memory of this process on the host: kept between the steps of a trial, returned to the system between trials."""

import ctypes
import gc
from contextlib import suppress
from functools import cache
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20
"""Largest mmap threshold in bytes that glibc accepts on 64-bit systems."""
_NEVER = (1 << 31) - 1
_WORTH_GIVING_MB = 64.0
_after_giving: dict[str, float] = {}
"""Resident memory in MB when memory was last returned to the system."""


@cache
def keep_freed() -> bool:
    """Let glibc keep freed memory for the next step; return False if malloc is not glibc's. Done once a process.

    By default glibc returns each tensor above some 100 KB to the system, which has to clear the pages of the next one:
    a third of the time of an eager step.
    """
    libc = _libc()
    if libc is None:
        return False
    taken = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    return bool(taken)


def give_back() -> None:
    """Free unreferenced objects, and return free memory to the system if it has grown by `_WORTH_GIVING_MB`."""
    gc.collect()
    libc = _libc()
    # malloc_trim takes milliseconds, much for a small trial.
    if libc is not None and resident_mb() > _after_giving.get("resident_mb", 0.0) + _WORTH_GIVING_MB:
        libc.malloc_trim(0)
        _after_giving["resident_mb"] = resident_mb()


def resident_mb() -> float:
    """Return the resident memory of this process in MB, shared pages included; 0 without /proc."""
    return _status_mb("VmRSS")


def peak_resident_mb() -> float:
    """Return the largest resident memory since `restart_peak` in MB."""
    return _status_mb("VmHWM")


def restart_peak() -> None:
    """Let `peak_resident_mb` start from here, if the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status_mb(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), 0.0)


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
