"""Commands as processes of their own, watched from outside: seconds, processor time and memory of all they start."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Nobody is told; without a network Ray would wait for an answer."""


class ProcessorTime:
    """Processor seconds of a process and all that it has started, as last seen: what ended in between is cut short."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}

    def __call__(self, root: psutil.Process) -> None:
        """Look at them now."""
        for one in tree(root):
            try:
                times = one.cpu_times()
                self._seen[one.pid, one.create_time()] = times.user + times.system
            except psutil.Error:
                continue

    @property
    def seconds(self) -> float:
        return sum(self._seen.values())


def tree(root: psutil.Process) -> list[psutil.Process]:
    """The process and its descendants; empty when it has ended."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def watched(
    command: Sequence[str],
    look: Callable[[psutil.Process], object] | None = None,
    *,
    every_s: float = 0.2,
    environment: Mapping[str, str] | None = None,
    cores: Sequence[int] | None = None,
) -> float:
    """Seconds that a command takes; `look` is called with its process meanwhile.

    On `cores` only where they are given. A command that fails ends this program, with the end of what it said.
    """
    pin = None if cores is None else lambda: os.sched_setaffinity(0, cores)
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **QUIET, **(environment or {})},
            preexec_fn=pin,
        )
        try:
            watch(process, look, every_s)
        finally:
            process.kill()
        seconds = time.perf_counter() - began
        if process.wait():
            said.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read().decode()[-4000:]}")
    return seconds


def watch(process: "subprocess.Popen[bytes]", look: Callable[[psutil.Process], object] | None, every_s: float) -> None:
    """Until it ends."""
    if look is None:
        process.wait()
        return
    root = psutil.Process(process.pid)
    while process.poll() is None:
        look(root)
        time.sleep(every_s)
