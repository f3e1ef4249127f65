"""The bundled questions are timed, each of them, and the slowest is held to the bar."""

from pathlib import Path

import pytest

import analysis
from benchmarks.measure import Report, Rounds
from benchmarks.questions import ALL, ask_all, report
from tests.analysis.small_study import whole_study


def test_the_slowest_question_is_held_to_the_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole_study(tmp_path)
    ask_all(tmp_path)
    values = {name: [0.1, 0.2, 0.3] for name in (*analysis.queries(), ALL)} | {"budget": [1.0, 2.5, 9.0]}
    report(Rounds(warm_up={}, values=values), tmp_path, Report("questions", "Questions", rounds=3, save=False))
    out = capsys.readouterr().out
    assert all(f"| {name} " in out for name in values)
    assert "seconds of the slowest question: 2.5, bar at most 2: **missed**" in out
