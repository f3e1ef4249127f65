"""The badge on ASHA's first rung, on made-up studies and on the recorded ones."""

from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.answers import Answers
from analysis.stats.badges import BAD, GOOD, UNKNOWN
from analysis.stats.early_stopping import keeps_best
from tests.helpers.records import SmallStudy

RECORDS = Path(__file__).parents[3] / "docs" / "results"
ASHA: dict[str, Any] = {"scheduler": "asha", "grace_epochs": 2, "reduction_factor": 3.0}


def arm(study: SmallStudy, number: int, *, kept: bool, trials: int = 8, **values: Any) -> None:
    """An arm whose later best is the first or the last at epoch 2 of 4."""
    name = study.arm(f"o{number}", **{**ASHA, **values})
    for trial in range(trials):
        end = 0.5 + trial / 20
        key = study.trial(name, "random" if trial else "default", val_metric=end)
        study.curve(key, 0.5, end if kept else 1 - end, end, end)


def found(results: Path) -> tuple[str, str]:
    state, sentence, *_ = keeps_best(Answers(results), "s")
    return state, sentence


@pytest.mark.parametrize(("kept", "state"), [(2, GOOD), (1, BAD)])
def test_of_five_arms_two_are_not_enough_to_be_sure(tmp_path: Path, kept: int, state: str) -> None:
    study = SmallStudy(tmp_path, "s")
    for number in range(5):
        arm(study, number, kept=number < kept)
    given, sentence = found(tmp_path)
    assert given == state and sentence.startswith(
        "At epoch 2 of 4, ASHA's first rung, the trial that ends best is in the share that goes on, one in 3, in "
        f"{kept} of 5 arms"
    )


def test_with_less_evidence_it_is_unknown(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for number in range(5):
        arm(study, number, kept=False, trials=8 if number else 7)
    state, sentence = found(tmp_path)
    assert state == UNKNOWN and sentence.endswith("in each of 5 arms; 4 have them.")


def test_without_early_stopping_nothing_is_lost(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for number in range(5):
        arm(study, number, kept=False, scheduler="none")
    assert found(tmp_path) == (GOOD, "Nothing is stopped early.")


@pytest.mark.parametrize("idle", [{"planned_search": 0}, {"grace_epochs": 4}], ids=["no search", "no rung"])
def test_where_nothing_is_searched_nothing_is_lost(tmp_path: Path, idle: dict[str, Any]) -> None:
    study = SmallStudy(tmp_path, "s")
    for number in range(5):
        arm(study, number, kept=False, **idle)
    assert found(tmp_path) == (GOOD, "Nothing is stopped early.")


def test_repeats_are_arms_of_their_own_and_a_joint_arm_is_one(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for repeat in range(5):
        arm(study, 0, kept=False, arm_id=f"o0-r{repeat}", repeat=repeat)
    assert found(tmp_path)[0] == BAD
    joint = SmallStudy(tmp_path / "joint", "s", mode="joint")
    name = joint.arm(None, **ASHA)
    for trial in range(8):
        key = joint.trial(name, "random", val_metric=0.5 + trial / 20, optimizer=f"o{trial % 2}")
        joint.curve(key, 0.5, 0.5, 0.6, 0.5 + trial / 20)
    rows = analysis.frame(tmp_path / "joint", "rung_correlation")
    assert rows[["rung", "n", "unstopped"]].values.tolist() == [[2, 8, 8]]


@pytest.mark.parametrize(
    ("name", "rung", "figures"),
    [
        ("espcn_photos", "epoch 2 of 12", "12 of 20 arms (60%, exact 90% interval 39% to 78%)"),
        ("lenet5_mnist_small", "epoch 1 of 3", "9 of 30 arms (30%, exact 90% interval 17% to 47%)"),
    ],
)
def test_the_recorded_studies_refute_their_own(name: str, rung: str, figures: str) -> None:
    state, sentence, *_ = keeps_best(Answers(RECORDS / name / "record"), name)
    assert state == BAD and rung in sentence and figures in sentence
