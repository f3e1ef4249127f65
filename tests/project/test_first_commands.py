"""What the documentation tells people to type, typed: quickstart cut small, and the quick commands on its results."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.own_code import forgetting_code, write_code
from tests.project.pages import ROOT, Block, blocks, blocks_of, commands, is_run
from tune_qat import cli

SMALL = [
    "--set", "pretrain.epochs=2", "--set", "training.epochs=2", "--set", 'space.optimizers=["adam", "sgd_agc"]',
    "--set", "stages.retrain=2", "--trials", "1", "--no-progress", "--max-concurrent", "1",
]  # fmt: skip
RUN = ("list", "schema", "plan", "status", "show", "query", "export", "train")
"""Commands that change nothing but a file that is named, and take less than a second on a small study."""
WALKS = {
    "own_model.md": ("mine.parts:load is read by code of yours", "weights.pt: 6 of 6 tensors", "16x1x3x3", "SGD"),
}
"""Texts that the commands of a walk print."""
own_code = pytest.fixture(forgetting_code)


def typed(*words: str) -> str:
    """What `tune-qat` with these words prints, in this process, which has imported all that it needs; it succeeds."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["tune-qat", *words])
        cli.main()
    assert not ended.value.code, words
    return printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_cluster: object) -> Path:
    """A folder with the results of the README's first command, cut small."""
    path = tmp_path_factory.mktemp("readme")
    *_, words = commands(blocks_of(ROOT / "README.md")[0])
    assert words == ["tune-qat", "run", "quickstart"]
    with chdir(path):
        shown = typed(*words[1:], *SMALL)
    assert "bicubic" in shown and "95 % interval" in shown
    return path


def quick() -> Iterator[list[str]]:
    """Lines of all pages that are typed, each once."""
    seen = set()
    for block in (block for block in blocks("bash") if block.mark != "not run"):
        for _, *words in (words for words in commands(block) if words[:1] == ["tune-qat"]):
            far = any(re.search(r"://|^--data-dir$|^docs/|^my_|\.toml$|^[A-Z_]{3,}$|\.pt$", word) for word in words)
            far |= "--for" in words  # a network that has trained for seconds is not what such a file has to agree with
            if words[0] in RUN and not far and tuple(words) not in seen:
                seen.add(tuple(words))
                yield words


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("words", list(quick()), ids=shlex.join)
def test_commands_that_run_nothing_big_work_as_written(folder: Path, words: list[str]) -> None:
    with chdir(folder):
        assert typed(*words).strip()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("block", [one for one in blocks("python") if is_run(one) and not one.file], ids=str)
def test_python_runs_as_written(folder: Path, block: Block) -> None:
    with chdir(folder), redirect_stdout(io.StringIO()):
        exec(block.runs, {})  # noqa: S102 - a page's own code


@pytest.mark.slow
@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize("walk", [block for block in blocks("bash") if block.mark == "run"], ids=str)
def test_a_walk_leads_to_its_end(
    walk: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_cluster: Any
) -> None:
    """Every line is typed, in an empty folder with the files that the section's other blocks are."""
    monkeypatch.setattr("tune_qat.tuning.cluster.doctor.cluster", shared_cluster.connected)
    files = [block for block in blocks_of(walk.page) if block.section == walk.section and block.file]
    write_code(tmp_path, {str(block.file): block.text for block in files})
    monkeypatch.chdir(tmp_path)
    printed = ""
    for program, *words in commands(walk):
        if program == "python":
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # tests run beside each other
            subprocess.run([sys.executable, *words], check=True, capture_output=True, env=one_thread)
        else:
            printed += typed(*words)
    for said in WALKS[walk.page.name]:
        assert said in printed, said
    assert "</html>" in Path("page.html").read_text(encoding="utf-8")
    assert os.listdir("results")
