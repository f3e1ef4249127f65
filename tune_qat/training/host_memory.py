"""Memory of this process on the host: kept between the steps of a trial, given back between trials, measured."""

import ctypes
import gc
from functools import cache
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20
"""What glibc takes on 64-bit systems."""
_NEVER = (1 << 31) - 1
_WORTH_GIVING_MB = 64.0
_after_giving: dict[str, float] = {}
"""Resident memory when memory was last given back."""


@cache
def keep_freed() -> bool:
    """Let glibc keep what is freed for the next step, once for this process; False where it is not glibc's malloc.

    By default it gives every tensor above some 100 KB back to the system, which then has to clear its pages for the
    next one: a third of an eager step.
    """
    libc = _libc()
    if libc is None:
        return False
    taken = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    return bool(taken)


def give_back() -> None:
    """Free what nothing refers to, and return free memory to the system once there is much of it."""
    gc.collect()
    libc = _libc()
    # Looking for what to return takes milliseconds, which a small trial would feel.
    if libc is not None and resident_mb() > _after_giving.get("resident_mb", 0.0) + _WORTH_GIVING_MB:
        libc.malloc_trim(0)
        _after_giving["resident_mb"] = resident_mb()


def resident_mb() -> float:
    """Resident memory of this process in MB, shared pages included; 0 where there is no /proc."""
    return _status_mb("VmRSS")


def peak_resident_mb() -> float:
    """Largest resident memory since `restart_peak` in MB."""
    return _status_mb("VmHWM")


def restart_peak() -> None:
    """Measure `peak_resident_mb` from here on, where the system lets a process do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


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
