"""The record whose report is timed."""

from pathlib import Path

import pytest

from benchmarks.many_trials import ARMS, STUDY
from benchmarks.report import Record

FOUR_ARMS = STUDY.replace('"adam", "adamw", "rmsprop", "adagrad", "sgd"', '"adam", "sgd"').replace(
    "[[8, 8], [4, 4], [2, 2], [32, 32]]", "[[4, 4], [32, 32]]"
)


@pytest.mark.slow
def test_it_is_written_reported_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(FOUR_ARMS) < len(STUDY)
    monkeypatch.setattr("benchmarks.report.STUDY", FOUR_ARMS)
    record = Record(tmp_path, 26 * ARMS)  # of each arm, 22 of which are not of the search
    assert record.megabytes > 0
    assert record.report() > 0 and record.question("leaderboard") > 0
    assert 1 < record.page_mb < 8 and record.memory[0] > 100
