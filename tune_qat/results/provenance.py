"""Where a number came from: versions and hardware, as the record keeps them."""

import hashlib
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@cache
def versions() -> dict[str, str | None]:
    """Columns with the versions that a trial ran with, without importing any of the packages."""
    return {
        "tune_qat_version": _version("tune-qat"),
        "git_commit": _git_commit(),
        "torch_version": _version("torch"),
        "ray_version": _version("ray"),
        "optuna_version": _version("optuna"),
        "python_version": platform.python_version(),
    }


COMPARED = ("tune-qat", "torch", "torchvision", "ray", "numpy", "timm")
"""Packages that a trial's numbers depend on, and Ray, which needs the same everywhere."""


def library_versions() -> dict[str, str | None]:
    """Versions that have to be the same on every node of a cluster."""
    return {"python": platform.python_version(), **{package: _version(package) for package in COMPARED}}


@cache
def host_hash() -> str:
    """A host's identity without its name, which has no place in a published table."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def hardware(device: str) -> dict[str, Any]:
    """Name of the device, and the CUDA version where it is a GPU."""
    import torch

    if device.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(device), "cuda_version": torch.version.cuda}
    return {"device": cpu_name(), "cuda_version": None}


@cache
def cpu_name() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the checkout that the package is imported from; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Before the first commit git prints the word HEAD, and fails.
    return found.stdout.strip() if found.returncode == 0 else None
