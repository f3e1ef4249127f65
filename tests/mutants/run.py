"""Proof that the tests notice faults: each mutant of `mutants.toml` has to fail the tests that are named for it.

python tests/mutants/run.py [NAME ...] [--list]

A mutant is the program with one line changed so that it still runs, and gives a plausible wrong number or loses a row.
The exit status is 1 where one survives, or where the list itself is wrong. Nothing in the checkout is touched.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PASSED, FAILED = 0, 1
"""Exit statuses of pytest; any other one says that it could not run the tests, which kills nothing."""
KILLER = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)
TAIL = 2_000
"""Characters of pytest's output that are shown where it went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault: where it is, and which tests have to notice it."""

    name: str
    file: str
    before: str
    """What is there, once in the file."""
    after: str
    tests: list[str]
    survived_before: bool = False
    """Whether the tests that there were did not notice it, so that one was written for it."""


def load(path: Path) -> list[Mutant]:
    """Read the list; `ValueError` for a name that is in it twice."""
    mutants = [Mutant(**table) for table in tomllib.loads(path.read_text())["mutant"]]
    if len({mutant.name for mutant in mutants}) < len(mutants):
        raise ValueError(f"{path} has a name twice.")
    return mutants


def copy_checkout(target: Path) -> None:
    """Copy what git tracks, or would track, as it is in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def run_tests(copy: Path, tests: Iterable[str], **environment: str) -> tuple[int, str]:
    """Run tests of the copy up to the first failure; pytest's exit status and what it printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *dict.fromkeys(tests)]
    variables = {**os.environ, "PYTHONPATH": str(copy), **environment}
    done = subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def judge(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    """Run the tests of one mutant: whether it was killed, and in words by which."""
    path = copy / mutant.file
    text = path.read_text()
    if text.count(mutant.before) != 1:
        return False, f"MISTAKE: `before` is in {mutant.file} {text.count(mutant.before)} times, not once"
    path.write_text(text.replace(mutant.before, mutant.after))
    try:
        # Bytecode is known by the second and the size of its source: a mutant's could pass for the next one's.
        status, printed = run_tests(copy, mutant.tests, PYTHONDONTWRITEBYTECODE="1")
    finally:
        path.write_text(text)
    if status == PASSED:
        return False, "SURVIVED"
    killers = KILLER.findall(printed)
    if status != FAILED or not killers:
        return False, f"MISTAKE: pytest ended with {status}\n{printed[-TAIL:]}"
    return True, f"killed by {killers[0]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all mutants, or the named ones; 1 where one is not killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to judge; all where none is named")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    given = parser.parse_args(arguments)
    known = {mutant.name: mutant for mutant in load(HERE / "mutants.toml")}
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"no such mutant: {', '.join(unknown)}")
    chosen = [known[name] for name in given.names or known]
    if given.list:
        print(*(f"{mutant.name}: {mutant.file}" for mutant in chosen), sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="tune_qat-mutants-") as folder:
        copy_checkout(copy := Path(folder))
        status, printed = run_tests(copy, (test for mutant in chosen for test in mutant.tests))
        print("Without a mutant:", printed.strip() if status else printed.strip().splitlines()[-1], flush=True)
        if status != PASSED:
            return 1
        killed = 0
        for mutant in chosen:
            good, words = judge(copy, mutant)
            killed += good
            print(f"{mutant.name}: {words}", flush=True)
    print(f"{killed} of {len(chosen)} mutants were killed.")
    return 0 if killed == len(chosen) else 1


if __name__ == "__main__":
    raise SystemExit(main())
