"""Time and peak memory of `tune-qat run quickstart`, of all its processes together.

python benchmarks/quickstart.py [SPACE ...]

Memory is the proportional set size: pages that processes share are counted once. Needs /proc (Linux).
"""

import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from tune_qat.provenance import cpu_name

SAMPLE_S = 2.0


def proportional_mb(process: psutil.Process) -> float:
    """PSS of a process and its descendants in MB; those that have just ended count nothing."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def measure(space: str) -> tuple[float, float]:
    """Seconds and peak MB of one run from an empty record."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tune_qat", "run", space, "--results", str(Path(folder) / "results")]
        began = time.monotonic()
        with subprocess.Popen([*command, "--no-progress"], stderr=subprocess.DEVNULL) as process:
            watched = psutil.Process(process.pid)
            peak = 0.0
            while process.poll() is None:
                try:
                    peak = max(peak, proportional_mb(watched))
                except psutil.Error:
                    break
                time.sleep(SAMPLE_S)
        if process.returncode:
            sys.exit(f"{space} ended with {process.returncode}")
        return time.monotonic() - began, peak


def main() -> None:
    """Print the machine, then a line for each study."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    print(f"{cpu_name()}, {len(psutil.Process().cpu_affinity())} cores; Python {platform.python_version()}, {packages}")
    for space in sys.argv[1:] or ["quickstart"]:
        seconds, peak = measure(space)
        print(f"{space}: {seconds:.0f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
