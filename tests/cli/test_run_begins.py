"""The first seconds of `tune-qat run`: what is said before anything heavy is imported, and Ctrl-C meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_imports import LATE

MOST_MODULES = 600
"""Limit of what is imported before the first output: it is about 430 modules, with torch and Ray thousands."""

FIRST = """
import os, sys

class First:
    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines.append(text)
        if "Loading" in text:
            names = " ".join({name.partition(".")[0] for name in sys.modules})
            print(len(sys.modules), names, *"".join(self.lines).splitlines(), sep="\\n", flush=True)
            os._exit(0)

    def flush(self):
        pass

    def isatty(self):
        return False

sys.stderr = First()
sys.argv = ["tune-qat", "run", "quickstart", "--results", "elsewhere"]
import tune_qat.cli
tune_qat.cli.main()
"""


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )


@pytest.mark.slow
def test_the_study_is_named_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    done = python(FIRST, tmp_path)
    count, names, *lines = done.stdout.splitlines()
    assert not set(LATE) & set(names.split()), done
    assert int(count) < MOST_MODULES
    assert lines[0] == "Study quickstart: espcn on photos, PSNR" and lines[2] == "Results in elsewhere"
    assert lines[-1] == "Loading PyTorch and Ray ..." and not list(tmp_path.iterdir())


INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder

class Torch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Torch())
sys.argv = ["tune-qat", "run", "quickstart", "--set", "seed=3"]
import tune_qat.cli
tune_qat.cli.main()
"""


@pytest.mark.slow
def test_ctrl_c_while_libraries_are_loaded_leaves_the_line_that_resumes(tmp_path: Path) -> None:
    done = python(INTERRUPTED, tmp_path)
    assert done.returncode == 4
    assert done.stderr.endswith("error: stopped by Ctrl-C\nresume:\n  tune-qat run quickstart --set seed=3\n")
