"""The provenance of a trial's numbers: versions and host, as the record keeps them."""

import hashlib
import platform
import socket
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def versions() -> dict[str, str | None]:
    """Return a trial's columns with versions, without importing any of the packages."""
    return {
        "tune_qat_version": _version("tune-qat"),
        "git_commit": _git_commit(),
        "torch_version": _version("torch"),
        "ray_version": _version("ray"),
        "optuna_version": _version("optuna"),
        "python_version": platform.python_version(),
    }


COMPARED = ("tune-qat", "torch", "torchvision", "ray", "numpy", "timm")
"""Packages that a trial's numbers depend on, and Ray, which needs one version on all nodes."""


def library_versions() -> dict[str, str | None]:
    """Return the versions that every node of a cluster must share."""
    return {"python": platform.python_version(), **{package: _version(package) for package in COMPARED}}


def other_versions(theirs: Mapping[str, str | None], ours: Mapping[str, str | None], where: str = "here") -> str:
    """Return the differences of library versions from ours, those of `where`, as text; empty if there are none."""
    other = [name for name in ours if ours[name] != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} ({where} {ours[name]})" for name in other)


@cache
def host_hash() -> str:
    """Return a hash of the host's name, which does not belong in a published table."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout that contains this package; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Before the first commit, git prints the word HEAD and fails.
    return found.stdout.strip() if found.returncode == 0 else None
