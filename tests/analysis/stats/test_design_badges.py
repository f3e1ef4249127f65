"""Badges about a study's design, on made-up records."""

import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.report.made import made
from analysis.stats import beginnings
from analysis.stats.badges import BAD, GOOD, UNKNOWN
from tests.analysis.stats.test_badges import finding
from tests.analysis.stats.test_scope import repeated
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write


class TestSearches:
    def test_one_search_an_arm(self, tmp_path: Path) -> None:
        repeated(tmp_path, 1)
        state, sentence = finding(tmp_path, "searches repeated")
        assert state == BAD and sentence.startswith("One search an arm: intervals cover the order of the data alone")

    def test_repeats(self, tmp_path: Path) -> None:
        repeated(tmp_path, 3, varies=["order", "design"])
        assert finding(tmp_path, "searches repeated") == (
            GOOD,
            "3 searches an arm, each draws anew: design and order; every arm has a design of its own.",
        )
        repeated(tmp_path / "two", 2)
        assert finding(tmp_path / "two", "searches repeated")[0] == BAD

    def test_repeats_that_share_their_luck(self, tmp_path: Path) -> None:
        repeated(tmp_path, 4, own=False)
        state, sentence = finding(tmp_path, "searches repeated")
        assert state == BAD and "several arms share one design" in sentence
        repeated(tmp_path / "same", 4, varies=["start"])
        state, sentence = finding(tmp_path / "same", "searches repeated")
        assert state == BAD and sentence.endswith("does not say that each draws its design and order anew.")


class TestControl:
    def study(
        self, results: Path, final: float, *, bits: int = 32, margin: float | None = 0.01, **of_trial: Any
    ) -> None:
        study = SmallStudy(results, "s")
        arm = study.arm("adam", bits, margin=margin)
        study.trial(arm, "pretrain", val_metric=0.9, checkpoint_sha256="start")
        for seed in (1, 2):
            study.trial(arm, "retrain", seed=seed, test_metric=0.8, val_metric=final, **of_trial)

    def test_one_that_cannot_move(self, tmp_path: Path) -> None:
        self.study(tmp_path, 0.905)
        assert finding(tmp_path, "the control can move") == (
            BAD,
            "The control cannot move. At 32/32 adam gains most over its start, 0.5 points (accuracy 90.0 % before "
            "and 90.5 % after, on validation data): no more than the margin of 1 point.",
        )
        row = beginnings(tmp_path).iloc[0]
        assert row[["start", "final", "n"]].tolist() == [0.9, 0.905, 2] and row["gain"] == pytest.approx(0.005)

    def test_one_that_moves_from_where_it_really_began(self, tmp_path: Path) -> None:
        """The metric right after calibration counts before that of the start, where it is in the record."""
        self.study(tmp_path, 0.905, calibrated_metric=0.5)
        state, sentence = finding(tmp_path, "the control can move")
        assert state == GOOD and "accuracy 50.0 % before and 90.5 % after" in sentence

    def test_what_is_not_known(self, tmp_path: Path) -> None:
        self.study(tmp_path / "quantized", 0.95, bits=4)
        assert finding(tmp_path / "quantized", "the control can move")[0] == UNKNOWN
        self.study(tmp_path / "no margin", 0.95, margin=None)
        assert finding(tmp_path / "no margin", "the control can move")[0] == UNKNOWN
        study = SmallStudy(tmp_path / "scratch", "s")
        study.trial(study.arm("adam", 32, margin=0.01), "retrain", seed=1, test_metric=0.8, val_metric=0.9)
        assert finding(tmp_path / "scratch", "the control can move") == (
            UNKNOWN,
            "What the 32/32 arms began with or ended with is not in the record.",
        )


def test_trials_that_saw_test_data_are_counted_those_of_replaced_configurations_apart(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    assert finding(tmp_path, "test data seen once") == (UNKNOWN, "No trial has seen test data yet.")
    study.retrain(arm, 0.8, 0.9)
    study.trial(arm, "search", val_metric=0.7)
    assert finding(tmp_path, "test data seen once") == (
        GOOD,
        "2 trials saw test data, all of them of the configurations that count.",
    )
    study.retrain(arm, 0.7, config_id="replaced")
    study.retrain(study.arm("sgd"), 0.8)
    assert finding(tmp_path, "test data seen once") == (
        BAD,
        "4 trials saw test data, 1 of them of configurations that were replaced since: 1 of 2 arms were tested with "
        "more than one configuration.",
    )


def test_same_epochs_are_not_called_the_same_steps(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for optimizer, size in (("adam", 4), ("sgd", 128)):
        arm = study.arm(optimizer, planned_random=0, planned_search=0)
        study.trial(arm, "default", val_metric=0.8)
        study.retrain(arm, 0.8, 0.9, batch_size=size)
    state, sentence = finding(tmp_path, "equal budget")
    assert state == GOOD
    assert "same trials and epochs, which are not the same steps (chosen batch sizes are 4 to 128)" in sentence


def test_the_page_counts_replaced_trials_apart(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), 0.8, 0.9)
    study.retrain("adam-w4a4", 0.7, config_id="replaced")
    write(tmp_path, "s", "studies", "study", filled("studies", definition_json=json.dumps({})))
    facts = dict(made(analysis.answers(tmp_path))[0]["facts"])
    assert facts["trials"] == (
        "2 of 12 planned have ended; another belongs to a version of the study or a configuration that was replaced "
        "since"
    )
    assert facts["test data"].startswith("3 trials saw test data, 1 of them of configurations that were replaced")
