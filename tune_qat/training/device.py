"""The device that a trial runs on: its name, clock, threads, random numbers and memory."""

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
    """Return the columns `device` and `cuda_version` of a trial; the latter is None on a CPU."""
    if device.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(device), "cuda_version": torch.version.cuda}
    return {"device": cpu_name(), "cuda_version": None}


@cache
def cpu_name() -> str:
    """Return the model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_clock(device: torch.device) -> float:
    """Return a clock reading in seconds: wall time for a GPU, process time for a CPU."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Set torch's number of CPU threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random numbers of layers (dropout) while the block runs; torch's global state does not change."""
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(accelerators):
        # Not torch.manual_seed: it seeds every accelerator, and only the state of this one is restored.
        torch.default_generator.manual_seed(seed)
        for accelerator in accelerators:
            with torch.cuda.device(accelerator):
                torch.cuda.manual_seed(seed)
        yield


def release_memory(device: str) -> None:
    """Free unreferenced memory on the host and on the device, and restart the measurement of peaks."""
    give_back()
    restart_peak()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb(device: str, *, reserved: bool = False) -> float:
    """Return the peak in MB since `release_memory`: of a GPU's tensors, or of its allocator's memory if `reserved`.

    For a CPU it is the resident memory of the whole process.
    """
    if not device.startswith("cuda"):
        return peak_resident_mb()
    return (torch.cuda.max_memory_reserved() if reserved else torch.cuda.max_memory_allocated()) / 1e6
