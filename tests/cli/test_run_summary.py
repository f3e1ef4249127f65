"""The last screen of a run, of records that are made up: what is named best, and how the commands stand there."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.records import SmallStudy
from tests.helpers.studies import tiny_study
from tune_qat.cli.run_summary import ending
from tune_qat.study import Study

AGAIN = "tune-qat run tiny.toml --results 'a folder' --set search.startup_trials=1 --set stages.retrain=0 --no-progress"


def screen_of(study: Study, results: Path, *, complete: bool = True) -> str:
    outcome: Any = SimpleNamespace(
        results=results, complete=complete, seconds=60.0, stopped_by="user", spent=None, left=3, budget=None
    )
    return ending(study, outcome, results=Path("a folder"), again=AGAIN)


def searched(record: SmallStudy, arm: str, *metrics: float | None, **values: Any) -> None:
    for metric in metrics:
        status = "completed" if metric is not None else "diverged"
        record.trial(arm, "search", status, val_metric=metric, learned=True, **values)


def table_of(screen: str, heading: str) -> list[list[str]]:
    lines = screen.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(heading))
    return [line.split() for line in lines[at + 3 :][: lines[at + 3 :].index("")]]


@pytest.fixture
def study() -> Study:
    return tiny_study(stages={"search": 3, "retrain": 0})


def test_a_study_without_retrain_names_the_best_of_each_search(study: Study, tmp_path: Path) -> None:
    record = SmallStudy(tmp_path, "tiny")
    searched(record, record.arm("sgd_clip"), 0.7, 0.75, learning_rate=0.1)
    searched(record, record.arm("adam"), 0.5, 0.9, None, learning_rate=0.00316)
    searched(record, record.arm("adam", 32), 0.95)
    screen = screen_of(study, tmp_path)
    assert "trains nothing again (stages.retrain = 0)" in " ".join(screen.split())
    honest = "--set search.startup_trials=1 --no-progress --set stages.retrain=3"
    assert f"\n  tune-qat run tiny.toml --results 'a folder' {honest}\n" in screen
    heading = "m-d at 4/4 bits: on validation data, the best of 5 trials, so optimistic"
    assert table_of(screen, heading) == [
        ["Adam", "0.0032", "32", "90.00", "3"],
        ["SGD", "with", "clipping", "0.1", "32", "75.00", "2"],
    ]
    assert screen.index(heading) < screen.index("m-d at 32/32 bits: "), "quantized models first"


def test_a_joint_search_names_its_best_three(study: Study, tmp_path: Path) -> None:
    record = SmallStudy(tmp_path, "tiny", mode="joint")
    arm = record.arm(None)
    for optimizer, metric in (("adam", 0.7), ("lion", 0.8), ("adam", 0.9), ("sgd", 0.6), ("sgd", None)):
        searched(record, arm, metric, optimizer=optimizer)
    found = table_of(screen_of(study, tmp_path), "m-d at 4/4 bits: on validation data, the best of 5 trials")
    assert [(line[0], line[3]) for line in found] == [("Adam", "90.00"), ("Lion", "80.00"), ("Adam", "70.00")]


def test_finalists_are_named_by_the_mean_that_chose(study: Study, tmp_path: Path) -> None:
    record = SmallStudy(tmp_path, "tiny")
    arm = record.arm("adam", planned_finalists=2, best_config_id="steady")
    searched(record, arm, 0.9, config_id="lucky", learning_rate=0.1)
    searched(record, arm, 0.8, config_id="steady", learning_rate=0.01)
    for config, metric, rate in (("lucky", 0.6, 0.1), ("steady", 0.82, 0.01)):
        values: dict[str, Any] = {"val_metric": metric, "config_id": config, "learning_rate": rate}
        record.trial(arm, "finalists", seed=5, learned=True, **values)
    (line,) = table_of(screen_of(study, tmp_path), "m-d at 4/4 bits: ")
    assert line == ["Adam", "0.01", "32", "81.00", "2"]


def test_a_study_that_is_stopped_before_its_retrain_trials_shows_what_it_has(tmp_path: Path) -> None:
    record = SmallStudy(tmp_path, "tiny")
    searched(record, record.arm("adam"), 0.9)
    screen = screen_of(tiny_study(), tmp_path, complete=False)
    assert "No retrain trial has ended yet" in screen and "the best of 1 trials" in screen
    assert "stages.retrain=3" not in screen, "going on is what gives an honest score"
    assert screen.endswith(f"\nresume:\n  {AGAIN}")
    nothing = SmallStudy(tmp_path / "nothing", "tiny")
    nothing.trial(nothing.arm("adam"), "default", "interrupted")
    assert "no leaderboard." in screen_of(tiny_study(), tmp_path / "nothing", complete=False)


@pytest.mark.parametrize("columns", [60, 80])
def test_commands_are_unwrapped_and_the_rest_fits_the_terminal(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    record = SmallStudy(tmp_path, "tiny")
    for optimizer in ("adam", "sgd_clip"):
        arm = record.arm(optimizer)
        searched(record, arm, 0.9, 0.8, 0.7)
        record.retrain(arm, 0.8, 0.81, 0.83, val_metric=0.8, learned=True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *given: os.terminal_size((columns, 24)))
    monkeypatch.setenv("COLUMNS", str(columns))  # of tables
    lines = screen_of(study, tmp_path).splitlines()
    commands = [line for line in lines if line.startswith("  tune-qat ")]
    assert f"  {AGAIN}" in commands and "  tune-qat report 'a folder' -o report.html" in commands
    for line in lines:
        assert len(line) <= columns or line in commands or " " not in line, line
