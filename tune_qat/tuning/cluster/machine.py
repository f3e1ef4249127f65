"""Facts about a machine. They are read on every node of a cluster, or on this machine alone."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tune_qat.config.system import allowed_cpus
from tune_qat.results.provenance import library_versions
from tune_qat.tuning.cluster.local import ray_folder

CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
SHARED_MEMORY = Path("/dev/shm")


def describe(results: str | None) -> dict[str, Any]:
    """Return the facts by name, an `Exception` in place of each that cannot be read.

    `results` is a local folder whose disk is read. Inductor's compiler is tried, which takes seconds.
    """
    questions: Mapping[str, Callable[[], Any]] = {
        "versions": library_versions,
        "time": time.time,
        "cpus": allowed_cpus,
        "cpu_limit": cpu_limit,
        "shared_memory": lambda: shutil.disk_usage(SHARED_MEMORY).total,
        "disks": lambda: disks(results),
        "gpus": gpus,
        "compiler": compiler,
    }
    return {name: _answered(question) for name, question in questions.items()}


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use: those it may run on, within its control group's limit."""
    allowed, limit = allowed_cpus(), cpu_limit()
    return allowed if limit is None else max(1, min(allowed, int(limit)))


def cpu_limit(root: Path = CGROUP, own: Path = OWN_GROUPS) -> float | None:
    """Return the number of CPUs that the control groups of a container or job allow; None without a limit.

    A group is limited by each of those that it lies in. `root` is where they are mounted, and `own` tells this
    process's group in every hierarchy; a container may see its own group as the root.
    """
    limits = [_limit(group) for hierarchy, path in _groups(root, own) for group in _within(hierarchy, path)]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, own: Path) -> Iterator[tuple[Path, str]]:
    """Yield the mount of each hierarchy with a CPU controller, and the path of this process's group below it."""
    lines = own.read_text().splitlines() if own.exists() else ["0::/", "1:cpu:/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2; beside version 1 its controllers are mounted apart
            yield root, path
            yield root / "unified", path
        elif "cpu" in controllers.split(","):
            yield root / "cpu", path
            yield root / controllers, path


def _within(hierarchy: Path, path: str) -> Iterator[Path]:
    """Yield a group and those that it lies in."""
    inside = PurePosixPath(path.removeprefix("/"))
    for part in (inside, *inside.parents):
        yield hierarchy / part


def _limit(group: Path) -> float | None:
    modern, old = group / "cpu.max", group / "cpu.cfs_quota_us"
    if modern.exists():
        quota, period = modern.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    if old.exists():
        microseconds = int(old.read_text())
        return None if microseconds <= 0 else microseconds / int((group / "cpu.cfs_period_us").read_text())
    return None


def disks(results: str | None) -> dict[str, tuple[int, int]]:
    """Return free and total bytes of the disks that a study fills, by folder."""
    folders = [ray_folder().parent]
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
