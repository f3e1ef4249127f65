"""Finalists in the answers: the question of that name, and what else knows the stage."""

from pathlib import Path

import pytest

import analysis
from analysis.stats import badge_checks
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tune_qat.cli import status_text

EXACT = 1e-12
"""Relative: sums and means of a few values."""


def arm_of(study: SmallStudy, optimizer: str = "adam") -> str:
    return study.arm(optimizer, planned_finalists=4, best_config_id="steady")


def finalists(
    study: SmallStudy, arm: str, config: str, searched: float, *again: float | None, rate: float = 1e-3
) -> None:
    """A configuration's trial of the search, and its further runs; None: out of memory."""
    study.trial(arm, "search", val_metric=searched, config_id=config, learning_rate=rate)
    for seed, one in enumerate(again, 5_000):
        status = "oom" if one is None else "completed"
        study.trial(arm, "finalists", status, val_metric=one, config_id=config, learning_rate=rate, seed=seed)


def test_means_luck_and_choice(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")  # the trivial score is 0.5
    arm = arm_of(study)
    finalists(study, arm, "lucky", 0.9, 0.6, 0.7)
    finalists(study, arm, "steady", 0.8, 0.8, 0.79)
    finalists(study, arm, "collapsing", 0.85, 0.4, None)
    study.trial(arm, "search", val_metric=0.7, config_id="no finalist")
    study.trial(arm, "search", "diverged", config_id="steady")
    found = analysis.frame(tmp_path, "finalists").set_index("config_id")
    assert list(found.index) == ["steady", "lucky", "collapsing"]
    assert found["mean"].tolist() == pytest.approx([2.39 / 3, 2.2 / 3, (0.85 + 0.5 + 0.5) / 3], rel=EXACT)
    assert found["again"].tolist() == pytest.approx([0.795, 0.65, 0.5], rel=EXACT)
    assert found["luck"].tolist() == pytest.approx([0.005, 0.25, 0.35], abs=1e-12)
    assert found["n"].tolist() == [3, 3, 3] and found["not_learned"].tolist() == [0, 0, 2]
    assert found["chosen"].tolist() == [True, False, False]


def test_a_smaller_metric_is_better_and_a_searched_trial_that_has_not_learned_counts_as_trivial(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s", sign=-1)
    arm = arm_of(study)
    finalists(study, arm, "steady", 0.1, 0.2)
    finalists(study, arm, "worse", 0.6, 0.2)
    found = analysis.frame(tmp_path, "finalists").set_index("config_id")
    assert found["searched"].tolist() == [0.1, 0.5] and found["not_learned"].tolist() == [0, 1]
    assert found["luck"].tolist() == pytest.approx([0.1, -0.3], abs=1e-12)


def test_a_study_without_the_stage_has_no_rows(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.trial(study.arm("adam"), "search", val_metric=0.9)
    assert not len(analysis.frame(tmp_path, "finalists"))


def test_an_edge_is_that_of_the_chosen_configuration(tmp_path: Path) -> None:
    """The best trial lies at the end of the range, and the chosen one in its middle."""
    for name, planned in (("chosen", 4), ("best", None), ("none", 0)):
        study = SmallStudy(tmp_path, name)
        arm = study.arm("adam", planned_finalists=planned, best_config_id="steady")
        finalists(study, arm, "lucky", 0.9, 0.6, rate=0.09)
        finalists(study, arm, "steady", 0.8, 0.8, rate=1e-3)
    found = analysis.frame(tmp_path, "edge_of_range").set_index(["study_id", "dimension"])["edge"]
    assert found[:, "learning_rate"].to_dict() == {"chosen": "none", "best": "high", "none": "high"}


def test_finalists_are_no_tuning_trials_and_have_no_test_score(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = arm_of(study)
    finalists(study, arm, "steady", 0.8, 0.8, 0.79)
    assert len(analysis.frame(tmp_path, "tuning_scores")) == 1
    for name in ("retrain_scores", "best_trial", "leaderboard"):
        assert not len(analysis.frame(tmp_path, name)), name


class TestBudget:
    def test_planned_and_ended(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        finalists(study, arm_of(study), "steady", 0.8, 0.8, None)
        study.arm("sgd", planned_finalists=None)
        found = analysis.frame(tmp_path, "budget").set_index("optimizer")
        assert found["planned_finalists"].to_dict() == {"adam": 4, "sgd": 0}
        assert found["ended_finalists"].to_dict() == {"adam": 2, "sgd": 0}
        assert not found["equal"].any()

    def test_different_numbers_are_named(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm_of(study)
        study.arm("sgd", planned_finalists=6)
        state, words, *_ = badge_checks.equal_budget(analysis.Answers(tmp_path), "s")
        assert state == badge_checks.BAD and "from 4 to 6 finalists trials" in words

    def test_arms_with_none_and_from_before_there_were_any_are_alike(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.arm("adam", planned_finalists=0)
        study.arm("sgd", planned_finalists=None)
        assert analysis.frame(tmp_path, "budget")["equal"].all()


@pytest.mark.parametrize(("planned", "left"), [(4, 2), (None, 0)])
def test_status_counts_them(tmp_path: Path, planned: int | None, left: int) -> None:
    study = SmallStudy(tmp_path, "s")
    write(tmp_path, "s", "studies", "study", filled("studies", complete=False))
    plan = {"planned_default": 0, "planned_random": 0, "planned_search": 1, "planned_retrain": 0}
    arm = study.arm("adam", planned_finalists=planned, best_config_id="steady", **plan)
    finalists(study, arm, "steady", 0.8, *([0.8, 0.7] if planned else []))
    lines = status_text.describe(tmp_path).splitlines()
    head, row = (next(line.split() for line in lines if line.lstrip().startswith(one)) for one in ("arm_id", "adam-"))
    assert dict(zip(head, row, strict=False))["left"] == str(left)
    assert dict(zip(head, row, strict=False))["done"] == str(3 if planned else 1)
