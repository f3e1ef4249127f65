"""What a machine says of itself, each thing on its own: one that cannot be found out leaves the others standing.

Runs on every node of a cluster, and on this machine without one.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_qat.results.provenance import library_versions

CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")


def describe(results: str | None, compile_too: bool) -> dict[str, Any]:
    """Facts by name; a fact that could not be found out is an `Exception`.

    Args:
        results: a local folder whose disk is looked at.
        compile_too: whether to try Inductor's compiler, which takes seconds.
    """
    questions: Mapping[str, Callable[[], Any]] = {
        "versions": library_versions,
        "time": time.time,
        "cpus": lambda: len(os.sched_getaffinity(0)),
        "cpu_limit": cpu_limit,
        "shared_memory": lambda: shutil.disk_usage(SHARED_MEMORY).total,
        "disks": lambda: disks(results),
        "gpus": gpus,
        **({"compiler": compiler} if compile_too else {}),
    }
    return {name: _answered(question) for name, question in questions.items()}


def cpu_limit(root: Path = CGROUP) -> float | None:
    """CPUs that the control group of a container or a job allows; None where there is no limit."""
    modern, old = root / "cpu.max", root / "cpu/cpu.cfs_quota_us"
    if modern.exists():
        quota, period = modern.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    if old.exists():
        microseconds = int(old.read_text())
        return None if microseconds <= 0 else microseconds / int((root / "cpu/cpu.cfs_period_us").read_text())
    return None


def disks(results: str | None) -> dict[str, tuple[int, int]]:
    """Free and total bytes of the disks that a study fills, by folder."""
    folders = [Path(os.environ.get("RAY_TMPDIR") or "/tmp")]
    if results is not None:
        folder = Path(results).expanduser().absolute()
        folders.append(next(path for path in (folder, *folder.parents) if path.exists()))
    usage = {str(folder): shutil.disk_usage(folder) for folder in folders}
    return {folder: (found.free, found.total) for folder, found in usage.items()}


def gpus() -> list[tuple[str, int, int]]:
    """Name, free and total bytes of each GPU."""
    # Ray hides the GPUs from a task that holds none.
    if not os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip():
        del os.environ["CUDA_VISIBLE_DEVICES"]
    import torch

    return [
        (torch.cuda.get_device_name(device), *torch.cuda.mem_get_info(device))
        for device in range(torch.cuda.device_count())
    ]


def compiler() -> str:
    """Why Inductor cannot compile here; empty where it can."""
    import torch

    from tune_qat.config import INDUCTOR
    from tune_qat.training.compiler import usable
    from tune_qat.training.device import default_device

    return usable(INDUCTOR, torch.device(default_device()))[1]


def _answered(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:  # a fact that is not to be had here
        return RuntimeError(f"{type(error).__name__}: {error}")
