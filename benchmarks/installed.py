"""The package as a user has it: a wheel, made from the source archive, in an environment of its own.

python -m benchmarks.installed                                            # this Python, the versions of constraints.txt
python -m benchmarks.installed --python 3.11 3.12 3.13 3.14               # those of them that are on this machine
python -m benchmarks.installed --dependencies lowest newest               # the bounds of pyproject.toml
python -m benchmarks.installed --requirements FILE                        # versions of one's own

Each environment takes some 6 GB and is removed before the next one. In it, from an empty folder, the commands of a
first hour: a study that trains, questions, a report. `uv` makes the environments; where it is missing, pip installs it
for as long as this runs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINNED, LOWEST, NEWEST = "pinned", "lowest", "newest"
RESOLVED = {
    PINNED: ["--constraint", str(ROOT / "constraints.txt")],
    LOWEST: ["--resolution", "lowest-direct"],
    NEWEST: ["--upgrade"],
}
STUDY = [
    *("run", "quickstart", "--no-progress", "--max-concurrent", "1", "--trials", "1"),
    *("--set", "pretrain.epochs=2", "--set", "training.epochs=2", "--set", 'space.optimizers=["adam", "lion", "muon"]'),
    *("--set", "stages.retrain=2"),
]
INIT = ["init", "mine.toml", "--model", "lenet5", "--dataset", "digits", "--bits", "4/4", "--hours", "0.1"]
WALK: list[list[str]] = [
    ["--version"],
    ["list"],
    ["schema"],
    ["plan", "quickstart"],
    STUDY,
    ["status", "results"],
    ["query", "results", "leaderboard"],
    ["query", "results", "verdicts", "--format", "json"],
    ["show", "results"],
    ["report", "results", "-o", "report.html"],
    ["export", "results", "-o", "model.onnx"],
    [*INIT, "--epochs", "2"],
    ["check", "mine.toml"],
]
FACTS = "import sys, torch, ray; print(sys.version.split()[0], torch.__version__, ray.__version__)"


def python_of(version: str) -> str | None:
    """Return the interpreter of a version, as 3.12, of pyenv or on the path; None where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    # Before the path, on which pyenv has names of versions that are not chosen, and do not run.
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


def call(words: list[str], folder: Path) -> str:
    """Run a command in a folder, and return what it prints; `SystemExit` with the end of it if it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    done = subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


@contextmanager
def tools() -> Iterator[str]:
    """Yield the program `uv`."""
    found = shutil.which("uv")
    if found is not None:
        yield found
        return
    with tempfile.TemporaryDirectory() as folder:
        call([sys.executable, "-m", "venv", "tools"], Path(folder))
        call(["tools/bin/python", "-m", "pip", "install", "--quiet", "uv"], Path(folder))
        yield f"{folder}/tools/bin/uv"


def walked(uv: str, wheel: Path, python: str, resolved: list[str]) -> str:
    """Install the wheel, run the commands, and return a line about it."""
    with tempfile.TemporaryDirectory(prefix="tq") as place:
        folder, empty = Path(place), Path(place) / "empty"
        empty.mkdir()
        inside = str(folder / "venv" / "bin" / "python")
        began = time.perf_counter()
        call([uv, "venv", "--quiet", "--python", python, "venv"], folder)
        # Lowest are the direct dependencies: of a project, those that it names; of a wheel, the wheel alone.
        project = [str(ROOT / "pyproject.toml"), "--extra", "analysis", "--output-file", "pins.txt"]
        call([uv, "pip", "compile", "--quiet", "--python", inside, *project, *resolved], folder)
        call([uv, "pip", "install", "--quiet", "--python", inside, "--requirement", "pins.txt"], folder)
        call([uv, "pip", "install", "--quiet", "--python", inside, "--no-deps", str(wheel)], folder)
        installed = time.perf_counter() - began
        facts = call([inside, "-c", FACTS], empty).split()
        for words in WALK:
            if not call([str(folder / "venv" / "bin" / "tune-qat"), *words], empty).strip():
                raise SystemExit(f"tune-qat {' '.join(words)} printed nothing.")
        walk = time.perf_counter() - began - installed
    return f"Python {facts[0]}, torch {facts[1]}, ray {facts[2]}: installed {installed:.0f} s, walked {walk:.0f} s"


def main() -> None:
    """Print a line for each environment; exit code 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=[f"{sys.version_info.major}.{sys.version_info.minor}"])
    parser.add_argument("--dependencies", nargs="+", choices=RESOLVED, default=[PINNED])
    parser.add_argument("--requirements", type=Path, help="A file of versions in place of these.")
    asked = parser.parse_args()
    chosen = {name: RESOLVED[name] for name in asked.dependencies}
    if asked.requirements:
        chosen = {asked.requirements.name: ["--constraint", str(asked.requirements.absolute())]}
    failed = False
    with tools() as uv, tempfile.TemporaryDirectory() as built:
        call([uv, "build", "--quiet", "--out-dir", built, str(ROOT)], Path(built))
        (wheel,) = Path(built).glob("*.whl")
        for version in asked.python:
            python = python_of(version)
            if python is None:
                print(f"Python {version}: not on this machine, left out", flush=True)
                continue
            for name, resolved in chosen.items():
                try:
                    print(f"{name}: {walked(uv, wheel, python, resolved)}", flush=True)
                except SystemExit as error:
                    failed = True
                    print(f"{name}, Python {version}: FAILED\n{error}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
