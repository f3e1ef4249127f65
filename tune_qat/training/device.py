"""The device that a trial runs on: which one, its clock, its threads, its random numbers and its memory."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from tune_qat.training.host_memory import give_back, peak_resident_mb, restart_peak


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware(device: str) -> dict[str, str | None]:
    """Name the device, and the CUDA version where it is a GPU: columns of a trial."""
    if device.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(device), "cuda_version": torch.version.cuda}
    return {"device": cpu_name(), "cuda_version": None}


@cache
def cpu_name() -> str:
    """Read the model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_clock(device: torch.device) -> float:
    """Read the seconds that the device is held: wall time on an accelerator, process time on a CPU."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Set torch's number of CPU threads, and put it back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Start what layers draw (dropout) from `seed`, and put torch's global random state back afterwards."""
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(accelerators):
        # Not torch.manual_seed, which seeds every accelerator, of which only this one is put back.
        torch.default_generator.manual_seed(seed)
        for accelerator in accelerators:
            with torch.cuda.device(accelerator):
                torch.cuda.manual_seed(seed)
        yield


def release_memory(device: str) -> None:
    """Free what nothing refers to, on the host and on the device, and measure peaks from here on."""
    give_back()
    restart_peak()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb(device: str, *, reserved: bool = False) -> float:
    """Measure the peak since `release_memory` in MB: of a GPU's tensors, or with `reserved` of what its allocator held.

    On a CPU it is that of the whole process.
    """
    if not device.startswith("cuda"):
        return peak_resident_mb()
    return (torch.cuda.max_memory_reserved() if reserved else torch.cuda.max_memory_allocated()) / 1e6
