"""Time and peak memory of `tune-qat run quickstart`, of all its processes together.

python -m benchmarks.quickstart [SPACE ...]

Memory is the proportional set size: pages that processes share are counted once. Needs /proc (Linux).
"""

import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.measure import machine
from benchmarks.processes import tree, watched

SAMPLE_S = 2.0


def proportional_mb(root: psutil.Process) -> float:
    """PSS of a process and its descendants in MB; those that have just ended count nothing."""
    total = 0
    for one in tree(root):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def measure(space: str) -> tuple[float, float]:
    """Seconds and peak MB of one run from an empty record."""
    seen: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tune_qat", "run", space, "--results", str(Path(folder) / "results")]
        seconds = watched(
            [*command, "--no-progress"], lambda root: seen.append(proportional_mb(root)), every_s=SAMPLE_S
        )
    return seconds, max(seen)


def main() -> None:
    """Print the machine, then a line for each study."""
    print(machine())
    for space in sys.argv[1:] or ["quickstart"]:
        seconds, peak = measure(space)
        print(f"{space}: {seconds:.0f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
