"""The record whose report is timed."""

from pathlib import Path

import pytest

from benchmarks.many_trials import ARMS
from benchmarks.report import Record


@pytest.mark.slow
def test_it_is_written_reported_and_asked(tmp_path: Path) -> None:
    record = Record(tmp_path, 26 * ARMS)  # 24 are not of the search
    assert record.megabytes > 0
    assert record.report() > 0 and record.question("leaderboard") > 0
    assert 1 < record.page_mb < 8 and record.memory[0] > 100
