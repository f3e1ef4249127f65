"""What counts in every question that means a score: trials that ended whole, and failures as the trivial score."""

from pathlib import Path

import pandas as pd
import pytest

import analysis
from tests.helpers.records import SmallStudy, whole_study, write_arms
from tune_qat.results.compaction import compact

OF_TRIALS = ("trial_key", "diverged", "failed", "status", "learning_rate")
"""Columns that say how a trial ended, or which it is."""
SCORES = (
    *("retrain_scores", "leaderboard", "quantization_effect", "published", "learning_curves", "tuning_scores"),
    *("batch_size", "learning_rate", "expected_best", "rung_correlation", "time_to_target", "steps_to_target"),
)
WHOLE_STAGES = (
    *("retrain_scores", "leaderboard", "quantization_effect", "generalization_gap", "published", "learning_curves"),
    *("expected_best", "rung_correlation", "time_to_target", "layer_quantities", "best_trial"),
    "finalists",
)
"""Questions about stages in which nothing is stopped early but by the user."""
QUESTIONS = sorted(set(analysis.queries()) - {"budget", "environments"})
"""Not those about what was spent, and where."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> analysis.Answers:
    results = tmp_path_factory.mktemp("before")
    whole_study(results)
    compact(results)
    return analysis.Answers(results)


@pytest.fixture(scope="module")
def with_unended(tmp_path_factory: pytest.TempPathFactory) -> analysis.Answers:
    results = tmp_path_factory.mktemp("unended")
    study = whole_study(results)
    for arm in study.arm_ids:
        for stage in ("default", "random", "search", "finalists", "retrain"):
            for status in ("running", "interrupted"):
                study.whole_trial(arm, stage, status, metric=0.99, seed=1, test_metric=0.99, config_id="best")
    compact(results)
    return analysis.Answers(results)


@pytest.fixture(scope="module")
def with_stopped(tmp_path_factory: pytest.TempPathFactory) -> analysis.Answers:
    results = tmp_path_factory.mktemp("stopped")
    study = whole_study(results)
    for arm in study.arm_ids:
        for stage in ("default", "random", "finalists", "retrain"):
            study.whole_trial(arm, stage, "stopped", metric=0.99, seed=1, test_metric=0.99, config_id="best")
    compact(results)
    return analysis.Answers(results)


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_has_not_ended_changes_no_answer(
    before: analysis.Answers, with_unended: analysis.Answers, name: str
) -> None:
    pd.testing.assert_frame_equal(with_unended.frame(name), before.frame(name))


@pytest.mark.parametrize("name", WHOLE_STAGES)
def test_what_the_user_stopped_has_no_last_epoch(
    before: analysis.Answers, with_stopped: analysis.Answers, name: str
) -> None:
    pd.testing.assert_frame_equal(with_stopped.frame(name), before.frame(name))


def with_failures(results: Path, status: str) -> None:
    """In every stage of every arm one of three trials has no metric."""
    study = SmallStudy(results, "s")
    write_arms(study)
    for number, arm in enumerate(study.arm_ids):
        for stage in ("default", "random", "search", "retrain"):
            for seed, score in enumerate((0.3, 0.7 + number / 40, None)):
                ended = "completed" if score is not None else status
                key = study.trial(arm, stage, ended, seed=seed, val_metric=score, test_metric=score)
                study.curve(key, 0.4, 0.6, 0.65 + number / 40, score, device_s=[1.0, 2.0, 3.0, 4.0])


@pytest.fixture(scope="module")
def answers_by_status(tmp_path_factory: pytest.TempPathFactory) -> dict[str, analysis.Answers]:
    found = {}
    for status in ("diverged", "oom", "error", "completed"):
        results = tmp_path_factory.mktemp(status)
        with_failures(results, status)
        compact(results)  # a question is faster asked of one file than of hundreds
        found[status] = analysis.Answers(results)
    return found


@pytest.mark.parametrize("status", ["oom", "error", "completed"])
@pytest.mark.parametrize("name", SCORES)
def test_every_kind_of_failure_and_an_unknown_metric_count_alike(
    answers_by_status: dict[str, analysis.Answers], name: str, status: str
) -> None:
    """A completed trial whose metric is not known is no better than one that diverged."""
    found, expected = answers_by_status[status].frame(name), answers_by_status["diverged"].frame(name)
    dropped = [column for column in OF_TRIALS if column in found]
    pd.testing.assert_frame_equal(found.drop(columns=dropped), expected.drop(columns=dropped))
