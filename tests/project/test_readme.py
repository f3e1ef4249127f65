"""What the README tells people to type, typed; quickstart cut small."""

import io
import re
import shlex
import sys
import tomllib
from contextlib import chdir, redirect_stdout
from pathlib import Path

import pytest

import analysis
from tune_qat import cli
from tune_qat.study import Study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = [
    "--set", "pretrain.epochs=2", "--set", "training.epochs=2", "--set", 'space.optimizers=["adam", "sgd_agc"]',
    "--set", "stages.retrain=2", "--trials", "1", "--no-progress", "--max-concurrent", "1",
]  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def typed(words: list[str]) -> str:
    """What `tune-qat` with these words prints, in this process, which has imported all that it needs; it succeeds."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["tune-qat", *words])
        cli.main()
    assert not ended.value.code
    return printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_cluster: object) -> Path:
    """A folder with the results of the first command, cut small."""
    path = tmp_path_factory.mktemp("readme")
    command = shlex.split(blocks("bash")[0])
    with chdir(path):
        shown = typed([*command[command.index(".venv/bin/tune-qat") + 1 :], *SMALL])
    assert "bicubic" in shown and "95 % interval" in shown
    return path


def test_the_second_command_is_what_ci_runs() -> None:
    assert blocks("bash")[-1].strip() == "bash .ci/run"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize(
    "command",
    re.findall(r"^tune-qat (?:list|plan|train|export|status|query|report results -o).*?(?=\s+#|$)", README, re.M),
)
def test_commands_that_run_nothing_big_work_as_written(folder: Path, command: str) -> None:
    with chdir(folder):
        assert typed(shlex.split(command)[1:]).strip()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_the_frames_and_connections_shown_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = next(block for block in blocks("python") if "import analysis" in block)
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - the README's own code
    assert len(analysis.frame("results", "leaderboard")) == 4


@pytest.mark.slow
def test_the_python_shown_runs(
    shared_cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = next(block for block in blocks("python") if "import Scheme" in block)
    cut = {
        "stages.search": 1,
        "stages.retrain": 1,
        "training.epochs": 1,
        "pretrain.epochs": 1,
        "space.optimizers": ["adam"],
    }
    small = code.replace('{"stages.search": 3}', repr(cut))
    assert small != code
    monkeypatch.chdir(tmp_path)
    exec(small, {})  # noqa: S102 - the README's own code
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_study_file_shown_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(blocks("toml")[0])
    study = Study.load(str(path))
    assert study.dimensions("adam")["learning_rate"].low == 1e-6
    assert tomllib.loads(blocks("toml")[0])["judgement"]["metric"] == study.judgement.metric


def test_files_that_are_linked_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
