"""What `tune-qat edges` says."""

from pathlib import Path

import pytest

from tests.helpers.records import record_of
from tests.helpers.study_files import changed, write
from tests.widen.records import full
from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.widen.edges import describe


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(write(tmp_path))


def test_arms_at_an_edge_come_first_with_what_is_wide_enough(study: Study, tmp_path: Path) -> None:
    full(study, tmp_path / "r", {"adam": {"learning_rate": 0.09, "batch_size": 8}})
    said = describe(tmp_path / "r")
    title, _, heads, _, *rows = said.splitlines()
    assert title == "study small (comparison mode): 4 best values lie near an edge of their ranges."
    assert heads.split() == ["arm", "searched", "best", "range", "untried", "near", "wide", "enough"]
    assert [row.split()[-2:] for row in rows[:4]] == [["high", "1e-05..1"], ["low", "4..64"]] * 2
    assert all(row.split()[-2:] == ["-", "-"] for row in rows[4:8])
    assert rows[-1] == f"widen    tune-qat widen {tmp_path}/r -o wide.toml"


def test_nothing_at_an_edge_is_said_plainly(study: Study, tmp_path: Path) -> None:
    full(study, tmp_path / "r")
    said = describe(tmp_path / "r")
    assert said.startswith("study small (comparison mode): no best value lies near an edge of its range.")
    assert "tune-qat widen" not in said


def test_what_was_not_tried_is_said_and_goes_with_more_trials(study: Study, tmp_path: Path) -> None:
    record = full(study, tmp_path / "r")
    assert "Well beyond 8 best values inside their ranges no trial has ended" in describe(tmp_path / "r")
    for arm in record.arm_ids:
        for rate, size in ((1e-4, 16), (1.0, 64)):
            record.trial(arm, "search", "stopped", val_metric=0.1, learning_rate=rate, batch_size=size)
    assert "no trial has ended" not in describe(tmp_path / "r")


def test_what_failed_again_with_fresh_seeds_is_not_widened(study: Study, tmp_path: Path) -> None:
    record = full(study, tmp_path / "r", {"adam": {"learning_rate": 0.09, "config_id": "best"}})
    for arm in ("adam-w32a32", "adam-w4a4"):
        record.retrain(arm, None, None, None, learning_rate=0.09)
    said = describe(tmp_path / "r")
    assert said.startswith("study small (comparison mode): no best value lies near an edge of its range.")
    assert "2 best values near an edge failed again with fresh seeds: a wider range is no answer." in said
    rows = [row.split()[-3:] for row in said.splitlines() if row.split()[:3:2] == ["adam-w4a4", "rate"]]
    assert rows == [["high", "failed", "again"]] and "tune-qat widen" not in said


def test_a_study_without_a_completed_trial_has_no_best(study: Study, tmp_path: Path) -> None:
    record_of(study, tmp_path / "r")
    assert describe(tmp_path / "r").endswith("no trial has been completed yet, so no best value is known.")


def test_joint_mode_names_the_optimizer_of_the_arm(tmp_path: Path) -> None:
    joint = Study.load(write(tmp_path, 'mode = "joint"\n' + changed("bits = [[32, 32], [4, 4]]", "bits = [[4, 4]]")))
    full(joint, tmp_path / "r", {"nesterov": {"learning_rate": 0.9}})
    rows = describe(tmp_path / "r").splitlines()[4:]
    assert [row.split()[:2] for row in rows[:2]] == [["joint-w4a4", "nesterov"], ["joint-w4a4", "adam"]]


def test_several_studies_have_a_block_each_and_a_command_that_names_them(study: Study, tmp_path: Path) -> None:
    other = study.model_copy(update={"name": "other"})
    for one in (study, other):
        full(one, tmp_path / "r", {"adam": {"learning_rate": 0.09}})
    said = describe(tmp_path / "r")
    assert said.count("\nwiden    ") == 2
    assert f"widen    tune-qat widen {tmp_path}/r --study other -o wide.toml" in said
    assert describe(tmp_path / "r", "other") == said[said.index("study other") : said.index("\n\nstudy small")]
    with pytest.raises(UsageError, match=r"holds no study 'othr'.* Did you mean 'other'\? Recorded: other, small"):
        describe(tmp_path / "r", "othr")
