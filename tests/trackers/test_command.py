"""`tune-qat export-runs` as it is typed, and what is refused before anything is written."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import assert_refused, small, tune_qat
from tests.trackers.small import small_record

__all__ = ["small", "tune_qat"]


def test_it_says_what_it_wrote_and_how_to_look_at_it(tune_qat: Any, tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    typed = "export-runs", str(tmp_path / "results"), "small", "--to", "tensorboard", "--out", "runs"
    done = tune_qat(*typed)
    assert done.out.splitlines() == [
        "9 runs in runs, 9 written or gone on with",
        "Look at them: tensorboard --logdir runs",
    ]
    assert tune_qat(*typed).out.splitlines()[0] == "9 runs in runs, nothing was new"


@pytest.mark.parametrize(
    ("to", "out", "code", "said"),
    [
        ("tensorbord", "runs", 2, "--to must be tensorboard, wandb or optuna, but got 'tensorbord'. Did you mean"),
        ("tensorboard", "FILE", 2, "is a file. Name a folder."),
        ("wandb", "FILE", 2, "is a file. Name a folder."),
        ("tensorboard", "s3://bucket/runs", 2, "--out must be a folder of this machine"),
        ("tensorboard", "FILE/runs", 1, "cannot be written: Not a directory"),
        ("optuna", "FILE", 2, "is a file that Optuna did not write"),
    ],
)
def test_a_wrong_place_or_tool_is_named(tune_qat: Any, tmp_path: Path, to: str, out: str, code: int, said: str) -> None:
    small_record(tmp_path / "results")
    (tmp_path / "file").write_text("of somebody")
    where = out.replace("FILE", str(tmp_path / "file"))
    assert_refused(tune_qat("export-runs", str(tmp_path / "results"), "--to", to, "--out", where), code, said)
    assert (tmp_path / "file").read_text() == "of somebody"


def block(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Make an import of the library fail, as where it is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize("tool", ["tensorboard", "wandb"])
def test_a_tool_that_is_not_installed_is_one_message(
    tune_qat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    small_record(tmp_path / "results")
    block(monkeypatch, tool)
    done = tune_qat("export-runs", str(tmp_path / "results"), "--to", tool, "--out", "runs")
    assert_refused(done, 1, f"export-runs --to {tool} needs {tool}", f"pip install 'tune-qat[{tool}]'")


def test_a_study_that_logs_without_tensorboard_ends_before_its_first_trial(
    tune_qat: Any, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    block(monkeypatch, "tensorboard")
    done = tune_qat("run", small, "--set", "logging.tensorboard=runs")
    assert done.code == 1 and not Path("results").exists() and not Path("runs").exists()
    assert "[logging] tensorboard needs tensorboard" in done.err and "Traceback" not in done.err
