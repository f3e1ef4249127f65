from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
import analysis.stats as stats_of
from analysis.stats.intervals import TWO_HUMPS
from tests.helpers.records import SmallStudy

GOOD = [0.95, 0.93, 0.96, 0.94, 0.95, 0.92, 0.94, 0.96]
EXACT = 1e-12  # sums of a few numbers near 1


def collapsing(results: Path, sign: int = 1) -> None:
    """Two of ten seeds of adadelta learn nothing; adam is fine."""
    study = SmallStudy(results, "s", sign=sign)

    def at(score: float) -> float:
        return score if sign > 0 else 1 - score

    trivial: dict[str, Any] = {"trivial_score": at(0.1), "trivial_test_score": at(0.1)}
    adadelta = study.arm("adadelta", **trivial)
    for seed, score in enumerate(GOOD):
        study.trial(adadelta, "retrain", seed=seed, test_metric=at(score), val_metric=at(score), learned=True)
    for seed in (8, 9):
        study.trial(adadelta, "retrain", seed=seed, test_metric=at(0.098), val_metric=at(0.09), learned=False)
    adam = study.arm("adam", **trivial)
    for seed, score in enumerate([*GOOD, 0.95, 0.94]):
        study.trial(adam, "retrain", seed=seed, test_metric=at(score - 0.01), val_metric=at(score), learned=True)


@pytest.mark.parametrize("sign", [1, -1])
def test_counts_and_what_the_others_reach(tmp_path: Path, sign: int) -> None:
    collapsing(tmp_path, sign)
    row = stats_of.collapses(tmp_path).set_index("optimizer").loc["adadelta"]
    assert row[["collapsed", "n", "counts", "collapsed_runs", "runs"]].tolist() == [2, 10, "seeds", 2, 10]
    interval = stats.binomtest(2, 10).proportion_ci(method="wilson")
    assert row[["share", "ci_low", "ci_high"]].tolist() == pytest.approx([0.2, interval.low, interval.high], abs=EXACT)
    assert (round(row["ci_low"], 2), round(row["ci_high"], 2)) == (0.06, 0.51)
    # A collapsed run is as good as the constant predictor, 0.1, and no worse.
    scores = np.array([*GOOD, 0.1, 0.1])
    expected = [np.mean(GOOD), np.median(scores), np.sort(scores)[2:8].mean()]
    if sign < 0:
        expected = [1 - value for value in expected]
    assert row[["mean_of_others", "median", "interquartile_mean"]].tolist() == pytest.approx(expected, abs=EXACT)


def test_it_counts_as_failure_everywhere(tmp_path: Path) -> None:
    collapsing(tmp_path)
    asked = analysis.answers(tmp_path)
    mean = (sum(GOOD) + 0.2) / 10
    board = asked.frame("leaderboard").set_index("optimizer").loc["adadelta"]
    assert board["mean"] == pytest.approx(mean, abs=EXACT)
    assert board[["n", "diverged", "collapsed"]].tolist() == [10, 0, 2] and pd.isna(board["ci_low"])
    standing = stats_of.standings(asked).set_index("optimizer").loc["adadelta"]
    assert standing["mean"] == pytest.approx(mean, abs=EXACT) and standing["why"] == TWO_HUMPS
    assert standing[["failed", "collapsed"]].tolist() == [2, 2] and standing[["ci_low", "p_best"]].isna().all()
    (pair,) = stats_of.comparisons(asked).to_dict("records")
    assert pair["why"] == TWO_HUMPS and pair["outcome"] == "cannot be told apart"
    assert stats_of.detectable_differences(asked).empty, "the spread of two humps is no spread of seeds"
    assert asked.frame("retrain_scores").groupby("optimizer")[["failed", "collapsed"]].sum().values.tolist() == [
        [2, 2], [0, 0]
    ]  # fmt: skip


def test_a_repeat_counts_once_and_an_arm_that_always_collapses_has_no_others(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for repeat in range(3):
        sgd = study.arm("sgd", arm_id=f"sgd-{repeat}", repeat=repeat)
        study.retrain(sgd, 0.9, None if repeat else 0.91)
        lion = study.arm("lion", arm_id=f"lion-{repeat}", repeat=repeat)
        study.retrain(lion, 0.4, 0.4, learned=False, val_metric=0.3)
    found = stats_of.collapses(tmp_path).set_index("optimizer")
    assert found[["collapsed", "n", "counts", "collapsed_runs", "runs"]].values.tolist() == [
        [3, 3, "repeats", 6, 6], [2, 3, "repeats", 2, 6]
    ]  # fmt: skip
    assert found["mean_of_others"].tolist() == pytest.approx([np.nan, 0.905], abs=EXACT, nan_ok=True)
    board = analysis.frame(tmp_path, "leaderboard").set_index("optimizer")
    assert board[["n", "diverged", "collapsed"]].loc[["lion", "sgd"]].values.tolist() == [[3, 0, 6], [3, 2, 0]]


def test_of_nothing_there_is_nothing(tmp_path: Path) -> None:
    SmallStudy(tmp_path, "s").arm("adam")
    assert stats_of.collapses(tmp_path).empty
