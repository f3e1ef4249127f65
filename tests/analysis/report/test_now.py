"""What a served page says of this moment, also while nothing but the start of all arms is being trained."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.report.now import Moment, Running, duration, left, moments
from analysis.report.page import rendered_now
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tune_qat.results.claim import claimed

ADAM = Running(stage="search", optimizer="rmsprop", bits="4/4", epoch=3, epochs=9, metric=0.9712, unit="fraction")
MOMENT = Moment(
    study_id="s", complete=False, imported=False, driven=True, ended=34, planned=108, left_s=720.0, running=(ADAM,)
)


def study_row(folder: Path, began: datetime, **values: Any) -> None:
    write(folder, "s", "studies", "study", filled("studies", complete=False, started_at=began, **values))


@pytest.fixture
def running(tmp_path: Path) -> SmallStudy:
    """A study that began ten minutes ago, with an arm that plans 12 trials of 4 epochs."""
    study_row(tmp_path, datetime.now(UTC) - timedelta(minutes=10))
    study = SmallStudy(tmp_path, "s")
    study.arm("adam", init_checkpoint_sha256=None)
    return study


def test_the_start_of_all_arms_is_seen_while_it_is_trained(running: SmallStudy) -> None:
    start = filled("trials", trial_key="p", arm_id="pretrain", stage="pretrain", status="running", epochs=32)
    write(running.results, "s", "trials", "p", {**start, "weight_bits": 32, "activation_bits": 32})
    running.curve("p", 0.8, 0.9)
    with claimed(running.results, "s", "run"):
        (now,) = moments([running.results])
        assert now.doing == "Running now, training: the start of all arms, epoch 2 of 32 (90.0 %)."
        # 48 epochs of trials and 30 of the start, at 2 epochs in ten minutes.
        assert now.left_s == pytest.approx(78 * 300, rel=0.05)  # the clock goes on
        assert now.standing == "0 of 12 trials have ended, at most 6 h 30 min left."


def test_trials_count_with_their_epochs(running: SmallStudy) -> None:
    for status, stage in (("completed", "default"), ("stopped", "search"), ("diverged", "random")):
        running.trial("adam-w4a4", stage, status, epochs_run=2, finished_at=datetime.now(UTC))
    key = running.trial("adam-w4a4", "search", "running", optimizer="adam")
    running.curve(key, 0.7)
    with claimed(running.results, "s", "run"):
        (now,) = moments([running.results])
    assert (now.ended, now.planned) == (3, 12)
    assert [str(one) for one in now.running] == ["Adam at 4/4, epoch 1 of 4 (70.0 %)"]
    # Of 48 epochs 12 are over and one is begun; 7 took ten minutes.
    assert now.left_s == pytest.approx((48 - 12 - 1) * 600 / 7, rel=0.05)  # the clock goes on


def test_rows_of_a_driver_that_was_lost_run_no_more(running: SmallStudy) -> None:
    running.trial("adam-w4a4", "search", "running")
    (now,) = moments([running.results])
    assert not now.running
    assert now.doing == "Nothing runs: the same command goes on with it."
    assert now.standing == "0 of 12 trials have ended."


def test_words_of_each_state() -> None:
    assert MOMENT.doing == "Running now, search: RMSProp at 4/4, epoch 3 of 9 (97.1 %)."
    assert MOMENT.standing == "34 of 108 trials have ended, at most 12 min left."
    assert replace(MOMENT, running=(ADAM,) * 6).doing.endswith("(97.1 %); and 2 more.")
    assert replace(MOMENT, running=()).doing == "Running: the next trials are about to start."
    assert replace(MOMENT, left_s=None).standing.endswith("ended, time left not known yet.")
    assert replace(MOMENT, complete=True).doing == "Complete: nothing is left to run."
    assert str(replace(ADAM, epoch=0, metric=None)) == "RMSProp at 4/4, in the first of 9 epochs"
    calibrated = replace(ADAM, stage="calibrated", optimizer=None, epochs=0, epoch=0, metric=None)
    assert str(calibrated) == "a calibrated model at 4/4"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (40, "40 s"), (90, "2 min"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_time_left_follows_the_pace_of_this_run() -> None:
    assert left(planned=100, over=40, trained=18, begun=2, seconds=60) == pytest.approx(58 * 3)
    assert left(planned=100, over=40, trained=0, begun=0, seconds=60) is None, "no epoch yet"
    assert left(planned=10, over=40, trained=5, begun=0, seconds=60) == 0, "more has ended than is planned by now"
    assert left(planned=100, over=0, trained=5, begun=0, seconds=-3) is None, "a clock that was put back"


def test_names_of_a_record_are_text() -> None:
    text = rendered_now([replace(MOMENT, study_id="<b>x"), MOMENT], datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert "&lt;b&gt;x" in text and "<b>x" not in text and "03:04:05 UTC" in text
    assert "Waiting for the first rows" in rendered_now([], None)
