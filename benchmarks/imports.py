"""Processor time until a package or a command is there, in a process of its own, and how many modules it loads.

python -m benchmarks.imports

The best of five: what disturbs a start makes it longer, never shorter. Nothing that trains is loaded before its time
(`tests/project/test_imports.py` counts modules).
"""

import resource
import subprocess
import sys

from benchmarks.measure import machine

ROUNDS = 5
BAR_S = 0.3
"""Most seconds of `import tune_qat`."""
COMMAND = "import sys; from tune_qat import cli; sys.argv = ['tune-qat', *{words!r}]; cli.main()"
STARTS = {
    "python": "pass",
    "import tune_qat": "import tune_qat",
    "import analysis": "import analysis",
    "tune-qat --version": COMMAND.format(words=["--version"]),
    "tune-qat -h": COMMAND.format(words=["-h"]),
    "tune-qat list": COMMAND.format(words=["list"]),
    "tune-qat plan quickstart": COMMAND.format(words=["plan", "quickstart"]),
    "analysis.open": "import analysis; analysis.open",
}


def measured(code: str) -> tuple[float, int]:
    """Fewest processor seconds of a process that runs the code, and the number of modules it has loaded."""
    counted = f"try:\n    {code}\nexcept SystemExit:\n    pass\nimport sys\nprint(len(sys.modules), file=sys.stderr)"
    seconds, modules = [], 0
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        modules = int(done.stderr.split()[-1])
    return min(seconds), modules


def main() -> None:
    """Print the machine, then a line for each; exit code 1 if `import tune_qat` is over its bar."""
    print(machine())
    found = {name: measured(code) for name, code in STARTS.items()}
    for name, (seconds, modules) in found.items():
        print(f"{name:26} {seconds:5.2f} s  {modules:5d} modules")
    sys.exit(found["import tune_qat"][0] > BAR_S)


if __name__ == "__main__":
    main()
