"""Escapes of others' data, in every place that a command prints: none reaches the terminal."""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tests.helpers.study_files import write as write_study
from tests.importing.test_refusals import journal
from tune_qat import cli
from tune_qat.results import claim
from tune_qat.storage.paths import write_whole

ESCAPE = "\x1b]0;owned\x07\x9b31m\u202e"
SHOWN = "\\x1b]0;owned\\x07\\x9b31m\\u202e"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Types a command; all that it printed."""

    def type_(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["tune-qat", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
        printed = capsys.readouterr()
        return printed.out + printed.err

    return type_


def record(results: Path) -> Path:
    """A record with an escape in each text that a command prints."""
    study = SmallStudy(results, "study", mode="comparison")
    texts: dict[str, Any] = dict.fromkeys(("workload", "unit", "method", "quantizer"), f"x{ESCAPE}")
    arm = study.arm("adam", **texts, arm_id=f"arm{ESCAPE}")
    study.retrain(arm, 0.5, 0.6)
    study.trial(arm, "search", "error", error_type=f"Bad{ESCAPE}Error", error_text=ESCAPE, device=ESCAPE)
    definition = filled("studies", definition_json=json.dumps({"note": ESCAPE}), complete=False, origin=f"o{ESCAPE}")
    write(results, "study", "studies", "study", definition)
    return results


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "{}", "SELECT * FROM trials"),
        ("query", "{}", "leaderboard"),
        ("query", "{}", f"SELECT '{ESCAPE}' AS \"{ESCAPE}\""),
        ("query", "{}", f"SELECT no{ESCAPE}"),
        ("status", "{}"),
        ("edges", "{}"),
        ("export", "{}", "-o", "model.onnx"),
        ("rerun", "{}", "t003"),
        ("rerun", "{}", f"no{ESCAPE}"),
        ("widen", "{}"),
        ("simulate", "{}"),
        ("status", f"nowhere{ESCAPE}"),
        (f"--no{ESCAPE}",),
    ],
    ids=lambda arguments: arguments[0] if arguments[0].isprintable() else "option",
)
def test_a_record_with_escapes(tmp_path: Path, typed: Callable[..., str], arguments: tuple[str, ...]) -> None:
    results = record(tmp_path / "results")
    printed = typed(*(one.format(results) if one == "{}" else one for one in arguments))
    assert printed.strip() and not OBEYED.search(printed), printed


def test_what_was_there_is_shown(tmp_path: Path, typed: Callable[..., str]) -> None:
    printed = typed("query", record(tmp_path / "results"), "SELECT arm_id FROM arms")
    assert f"arm{SHOWN}" in printed


def test_a_study_file_with_escapes(tmp_path: Path, typed: Callable[..., str]) -> None:
    quoted = json.dumps(f"key{ESCAPE}")
    for text in (f"{quoted} = 1", f"[workload]\nmodel = {quoted}", f"name = {quoted}", f"note = {quoted}\nx ="):
        path = write_study(tmp_path, text)
        printed = typed("plan", path)
        assert printed.startswith("error: ") and not OBEYED.search(printed), printed


def test_a_study_that_is_printed_for_a_cluster_keeps_its_texts(tmp_path: Path, typed: Callable[..., str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extend = "quickstart"\nnote = {json.dumps(ESCAPE, ensure_ascii=True)}\n')
    printed = typed("launch", path, "--on", "ray", "--results", "s3://bucket/r")
    assert not OBEYED.search(printed)
    assert 'note = "\\u001b]0;owned\\u0007\\u009b31m\\u202e"' in printed


def test_an_import_with_escapes(tmp_path: Path, typed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"lr": 0.1, "batch_size": 32, f"optimizer{ESCAPE}": f"adam{ESCAPE}"}
    storage = journal(tmp_path / "a.log", names, name=f"sweep{ESCAPE}")
    for more in ((), ("--optimizer", f"optimizer{ESCAPE}"), ("--study", "no")):
        printed = typed("import", "optuna", storage, "--results", tmp_path / "r", "--as", "a", *more)
        assert printed.strip() and not OBEYED.search(printed), printed


def test_a_claim_with_escapes(tmp_path: Path, typed: Callable[..., str]) -> None:
    results = tmp_path / "r"
    storage = journal(tmp_path / "a.log", {"lr": 0.1, "batch_size": 32, "optimizer": "adam"})
    alive = replace(claim._ourselves(), since=f"today{ESCAPE}", pid=os.getppid(), holding=True)
    alive = replace(alive, process=claim._process(os.getppid()) or "")
    write_whole(results / "claims" / "run" / "study_id=sweep" / "0.json", json.dumps(asdict(alive)).encode())
    printed = typed("import", "optuna", storage, "--results", results)
    assert f"since today{SHOWN}" in printed and not OBEYED.search(printed)
