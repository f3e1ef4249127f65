"""The examples of CONTRIBUTING.md: added to the tables as they stand there, they pass the conformance tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.pages import ROOT, blocks_of, text_of

KINDS = {"optimizer": "OPTIMIZERS", "quantizer": "QUANTIZERS", "model": "MODELS", "dataset": "DATASETS"}
"""What is added, and the table it goes into."""
RUNNER = """
import importlib, sys, types

def added(name, source):
    module = types.ModuleType(name)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    setattr(importlib.import_module(parent), own, module)
    exec(compile(source, name, "exec"), module.__dict__)

{parts}
"""


def blocks(kind: str) -> list[str]:
    """File, line and subclass of an example."""
    whole = text_of(ROOT / "CONTRIBUTING.md")
    heading = re.search(rf"^### An? {kind}$", whole, re.MULTILINE)
    assert heading is not None
    line = whole.count("\n", 0, heading.start())
    return [block.text for block in blocks_of(ROOT / "CONTRIBUTING.md") if block.line > line][:3]


def first_comment(block: str) -> str:
    return block.splitlines()[0].removeprefix("# ")


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.slow
def test_examples_pass_the_conformance_tests(tmp_path: Path) -> None:
    """In one process for all four, which imports torch once."""
    names = {kind: write(kind, tmp_path) for kind in KINDS}
    command = [sys.executable, "-m", "pytest", "-v", "-n", "0", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    for kind, name in names.items():
        passed = re.findall(rf"{name}\.py::.* PASSED", done.stdout)
        assert len(passed) >= 10, f"the example of {kind} is not tested"


def write(kind: str, folder: Path) -> str:
    """Write the file of tests that adds an example and tests it; its name."""
    file, line, subclass = blocks(kind)
    table = module_of(first_comment(line).removeprefix("a line of "))
    tests = module_of(first_comment(subclass))
    name = re.search(r'name="(\w+)"', line)
    assert name is not None
    parts = [
        f"added({module_of(first_comment(file))!r}, {file!r})",
        f"import {table} as table",
        f"spec = eval({line!r}, vars(table))",
        f"table.{KINDS[kind]}[spec.name] = spec",
        f"import {tests} as tests",
        f"exec({subclass!r}, vars(tests))",
        *(f"{word} = tests.{word}" for word in re.findall(r"^class (\w+)", subclass, re.MULTILINE)),
    ]
    (folder / f"test_{name[1]}.py").write_text(RUNNER.format(parts="\n".join(parts)), encoding="utf-8")
    return f"test_{name[1]}"
