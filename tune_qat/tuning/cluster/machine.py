"""Facts about a machine. They are read on every node of a cluster, or on this machine alone."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_qat.results.provenance import library_versions

CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")


def describe(results: str | None) -> dict[str, Any]:
    """Return the facts by name, an `Exception` in place of each that cannot be read.

    `results` is a local folder whose disk is read. Inductor's compiler is tried, which takes seconds.
    """
    questions: Mapping[str, Callable[[], Any]] = {
        "versions": library_versions,
        "time": time.time,
        "cpus": lambda: len(os.sched_getaffinity(0)),
        "cpu_limit": cpu_limit,
        "shared_memory": lambda: shutil.disk_usage(SHARED_MEMORY).total,
        "disks": lambda: disks(results),
        "gpus": gpus,
        "compiler": compiler,
    }
    return {name: _answered(question) for name, question in questions.items()}


def cpu_limit(root: Path = CGROUP) -> float | None:
    """Return the number of CPUs that the control group of a container or job allows; None without a limit."""
    modern, old = root / "cpu.max", root / "cpu/cpu.cfs_quota_us"
    if modern.exists():
        quota, period = modern.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    if old.exists():
        microseconds = int(old.read_text())
        return None if microseconds <= 0 else microseconds / int((root / "cpu/cpu.cfs_period_us").read_text())
    return None


def disks(results: str | None) -> dict[str, tuple[int, int]]:
    """Return free and total bytes of the disks that a study fills, by folder."""
    folders = [Path(os.environ.get("RAY_TMPDIR") or "/tmp")]
    if results is not None:
        folder = Path(results).expanduser().absolute()
        folders.append(next(path for path in (folder, *folder.parents) if path.exists()))
    usage = {str(folder): shutil.disk_usage(folder) for folder in folders}
    return {folder: (found.free, found.total) for folder, found in usage.items()}


def gpus() -> list[tuple[str, int, int]]:
    """Return name, free and total bytes of each GPU."""
    # Ray hides all GPUs from a task that holds none.
    if not os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip():
        del os.environ["CUDA_VISIBLE_DEVICES"]
    import torch

    return [
        (torch.cuda.get_device_name(device), *torch.cuda.mem_get_info(device))
        for device in range(torch.cuda.device_count())
    ]


def compiler() -> str:
    """Return why Inductor cannot compile here; empty if it can."""
    import torch

    from tune_qat.config import INDUCTOR
    from tune_qat.training.compiler import usable
    from tune_qat.training.device import default_device

    return usable(INDUCTOR, torch.device(default_device()))[1]


def _answered(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:  # the other facts are still read
        return RuntimeError(f"{type(error).__name__}: {error}")
