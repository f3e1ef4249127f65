"""The provenance of a trial's numbers: versions and host, as the record keeps them."""

import hashlib
import hmac
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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


_INITIAL_PROCESSES = "pid:[4026531836]"
"""Linux's namespace of process numbers outside of containers."""


@cache
def host_hash(study_id: str) -> str | None:
    """Return a hash that is the same for all trials of a study on this host, and tells nobody else which host it is.

    A hash of the name alone could be looked up by hashing likely names, and one host would be known again in every
    published study. None where the host has no secret to make it of.
    """
    secret = _host_secret()
    known = f"{study_id} {socket.gethostname()}".encode()
    return hmac.new(secret, known, hashlib.sha256).hexdigest()[:12] if secret else None


def _host_secret() -> bytes:
    """Return the random number of this machine or, in a container, whose image may hold one, of its last start."""
    with suppress(OSError):
        if os.readlink("/proc/self/ns/pid") == _INITIAL_PROCESSES and (found := MACHINE_ID.read_bytes().strip()):
            return found
    with suppress(OSError):
        return BOOT_ID.read_bytes().strip()
    return b""


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
