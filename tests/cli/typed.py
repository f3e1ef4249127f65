"""Commands typed in this process, in a folder of their own, and what they leave: exit code and prints."""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.helpers.study_files import write
from tune_qat import cli


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def tune_qat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Types a command in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TUNE_QAT_DATA", raising=False)

    def typed(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["tune-qat", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        printed = capsys.readouterr()
        return Done(code if isinstance(code, int) else 0 if code is None else 1, printed.out, printed.err)

    return typed


@pytest.fixture
def small(tmp_path: Path) -> str:
    return write(tmp_path)


def assert_refused(done: Done, code: int, *parts: str) -> None:
    """A message with these parts, nothing printed, nothing written where the command was typed."""
    assert done.code == code, done
    for part in parts:
        assert part in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert os.listdir() == []
