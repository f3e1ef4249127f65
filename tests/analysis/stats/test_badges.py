import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.answers import Answers
from analysis.stats.badge_words import WORDS
from analysis.stats.badges import BAD, CHECKS, GOOD, UNKNOWN, Badge, _badge, badges
from analysis.stats.inclusions import INCLUSIONS, searched
from tests.helpers.records import SPACE, SmallStudy
from tune_qat.optimizers import OPTIMIZERS

ADAM, SGD = [0.951, 0.949, 0.950], [0.9005, 0.9002, 0.8991]
MOMENTUM = {**SPACE, "nesterov": {**SPACE["sgd"], "momentum": {"low": 0.0, "high": 0.99, "log": False}}}


def asked(results: Path, name: str) -> Badge:
    """This badge of a record of one study, without the ten others, which take ten times as long."""
    (check,) = [check for check in CHECKS if check.name == name]
    answers = Answers(results)
    (study_id,) = answers.frame("start")["study_id"]
    return _badge(check, answers, study_id)


def finding(results: Path, name: str) -> tuple[str, str]:
    badge = asked(results, name)
    return badge.state, badge.sentence


def whole(study: SmallStudy, optimizer: str, *scores: float | None, bits: int = 4, **values: Any) -> str:
    """An arm all of whose tuning trials were completed, with these retrain scores."""
    arm = study.arm(optimizer, bits, planned_default=1, planned_random=0, planned_search=1, **values)
    for stage in ("default", "search"):
        study.trial(arm, stage, val_metric=0.9)
    study.retrain(arm, *scores)
    return arm


def tried(study: SmallStudy, arm: str, rate: float) -> None:
    """The best at this rate, and trials on all sides of it."""
    study.trial(arm, "search", val_metric=0.5, learning_rate=rate)
    for batch_size, factor in ((16, 0.1), (64, 10)):
        study.trial(arm, "search", "stopped", val_metric=0.4, learning_rate=factor * rate, batch_size=batch_size)


def test_each_has_a_question_that_is_bundled(tmp_path: Path) -> None:
    whole(SmallStudy(tmp_path, "s"), "adam", *ADAM)
    given = badges(tmp_path)
    assert len(given) == 11 and {badge.question for badge in given} <= set(analysis.queries())
    assert {badge.state for badge in given} <= {GOOD, BAD, UNKNOWN}
    assert all(badge.sentence.endswith(".") and "nan" not in badge.sentence for badge in given)
    assert all(badge.headline and badge.consequence and badge.consequence[-1] not in ".:" for badge in given)


def test_every_state_of_every_check_has_a_headline() -> None:
    assert list(WORDS) == [check.name for check in CHECKS]
    for name, words in WORDS.items():
        assert list(words) == [GOOD, BAD, UNKNOWN], name
        headlines = [headline for headline, _ in words.values()]
        assert len(set(headlines)) == 3 and all(one[0].isupper() and ":" not in one for one in headlines), name


def test_of_a_study_without_a_trial_nothing_is_known(tmp_path: Path) -> None:
    SmallStudy(tmp_path, "s").arm("adam")
    states = {badge.name: badge.state for badge in badges(tmp_path)}
    assert states.pop("searches repeated") == BAD  # that is planned
    assert set(states.values()) == {UNKNOWN}


def test_of_a_joint_search_only_what_does_not_compare(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s", mode="joint")
    study.retrain(study.arm(None), 0.8, 0.9, optimizer="sgd")
    names = [badge.name for badge in badges(tmp_path)]
    assert names == [
        *("best inside its range", "early stopping keeps the best", "test data seen once", "better than trivial"),
        *("one environment", "no two runs alike"),
    ]


def test_several_studies_have_their_own(tmp_path: Path) -> None:
    for name, rate in (("one", 1e-3), ("two", 1e-5)):
        study = SmallStudy(tmp_path, name)
        tried(study, study.arm("adam"), rate)
    states = {badge.study_id: badge.state for badge in badges(tmp_path) if badge.name == "best inside its range"}
    assert states == {"one": GOOD, "two": BAD}


class TestEqualBudget:
    def test_planned_and_spent_the_same(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer in ("adam", "sgd"):
            whole(study, optimizer)
        state, sentence = finding(tmp_path, "equal budget")
        assert state == GOOD and sentence.endswith("spent the same device time within 10%.")

    def test_what_was_spent_is_shown_where_it_differs(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        whole(study, "adam")
        study.trial(whole(study, "sgd"), "retrain", device_s=8.0)  # 4 + 8 beside 4 s: 1.5 and 0.5 of their mean
        state, sentence = finding(tmp_path, "equal budget")
        assert state == GOOD and "from 0.50 (adam at 4/4) to 1.50 (sgd at 4/4) of the mean" in sentence

    def test_planned_differently(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.arm("adam", planned_search=6)
        study.arm("sgd", planned_search=24, max_epochs=8)
        state, sentence = finding(tmp_path, "equal budget")
        assert (state, sentence) == (
            BAD,
            "Arms were planned different budgets: from 6 to 24 search trials and from 4 to 8 epochs.",
        )

    def test_half_finished(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.trial(study.arm("adam"), "search", val_metric=0.5)
        state, sentence = finding(tmp_path, "equal budget")
        assert state == UNKNOWN and "1 of 9 tuning trials have ended so far" in sentence


def test_best_values_at_an_edge_are_named(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.trial(study.arm("adam"), "search", val_metric=0.5, learning_rate=2e-5)
    state, sentence = finding(tmp_path, "best inside its range")
    assert state == BAD and sentence.startswith("1 of 2 best values near an edge of its range")
    assert "learning rate of adam at 4/4 (low)" in sentence


def test_a_best_value_beyond_which_nothing_was_tried_is_not_inside(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.trial(study.arm("adam"), "search", val_metric=0.5, learning_rate=1e-3)
    state, sentence = finding(tmp_path, "best inside its range")
    assert state == UNKNOWN and sentence.startswith("Well beyond 2 of 2 best values no trial has ended yet")
    assert "learning rate of adam at 4/4 (both)" in sentence
    tried(study, "adam-w4a4", 1e-3)
    assert finding(tmp_path, "best inside its range")[0] == GOOD


def test_a_best_value_at_an_edge_that_failed_again_calls_for_no_wider_range(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    study.trial(arm, "search", val_metric=0.5, learning_rate=0.09, config_id="best")
    study.retrain(arm, None, None, learning_rate=0.09)
    state, sentence = finding(tmp_path, "best inside its range")
    assert state == UNKNOWN and "`tune-qat widen`" not in sentence
    assert sentence.startswith("At an edge, but failed again with fresh seeds")
    assert "learning rate of adam at 4/4 (high)" in sentence


class TestEnoughSeeds:
    def study(self, results: Path, margin: float | None) -> tuple[str, str]:
        study = SmallStudy(results, "s")
        study.retrain(study.arm("adam", margin=margin), *ADAM)
        study.retrain(study.arm("sgd", margin=margin), *SGD)
        return finding(results, "enough seeds")

    def test_a_margin_that_they_tell(self, tmp_path: Path) -> None:
        # By hand: the difference varies by (4, -13, 8) / 10000, standard deviation 0.00112; three seeds tell 3.26 of
        # them.
        state, sentence = self.study(tmp_path, 0.01)
        assert state == GOOD and sentence.startswith(
            "With 3 seeds at 4/4, adam and sgd, the leader and runner-up, have to differ by 0.364 points to be told"
        )
        assert sentence.endswith("; the margin is 1 point.")
        told = asked(tmp_path, "enough seeds")
        said = (told.headline, told.consequence)
        assert said == ("Enough seeds", "differences from 0.364 points on can be seen; the margin is 1 point")

    def test_a_margin_that_takes_more(self, tmp_path: Path) -> None:
        state, sentence = self.study(tmp_path, 0.001)
        assert state == BAD and "; a difference of the margin, 0.1 points, needs 12 seeds." in sentence
        told = asked(tmp_path, "enough seeds")
        assert (told.headline, told.consequence) == (
            "Too few seeds",
            "differences under 0.364 points cannot be seen; for 0.1 points it takes 12 seeds",
        )
        state, sentence = self.study(tmp_path / "zero", 0.0)
        assert state == BAD and sentence.endswith("needs more than 1,000 seeds.")

    def test_without_a_margin(self, tmp_path: Path) -> None:
        assert self.study(tmp_path, None)[0] == UNKNOWN


class TestInclusion:
    def study(
        self, results: Path, space: dict[str, Any], sgd: list[float], nesterov: list[float], momentum: float = 0.05
    ) -> tuple[str, str]:
        study = SmallStudy(results, "s")
        for optimizer, scores in (("sgd", sgd), ("nesterov", nesterov)):
            arm = study.arm(optimizer, space_json=json.dumps(space))
            study.retrain(arm, *scores)
        scheme = {"ste": "clip_then_round", "first_last_bits": 8}
        params = json.dumps({"scheme": scheme, "optimizer_options": {"momentum": momentum}})
        study.curve(study.trial(arm, "random", params_json=params, epochs_run=1), 0.8)
        return finding(results, "special cases included")

    def test_a_special_case_that_is_better(self, tmp_path: Path) -> None:
        state, sentence = self.study(tmp_path, MOMENTUM, ADAM, SGD)
        assert state == BAD and "sgd is better than nesterov by 5.0 points" in sentence

    def test_none_that_is(self, tmp_path: Path) -> None:
        assert self.study(tmp_path, MOMENTUM, SGD, ADAM)[0] == GOOD
        assert self.study(tmp_path / "close", MOMENTUM, [0.91, 0.95, 0.92], [0.90, 0.96, 0.90])[0] == GOOD

    def test_is_asked_only_where_a_trial_was_at_the_special_case(self, tmp_path: Path) -> None:
        state, sentence = self.study(tmp_path, MOMENTUM, ADAM, SGD, momentum=0.5)
        assert state == UNKNOWN and "a trial at the special case" in sentence

    @pytest.mark.parametrize(("clipped", "state"), [((0.0, 0.0), GOOD), ((0.0, 0.1), UNKNOWN)])
    def test_of_clipping_a_trial_without_a_clipped_step_is_asked_for(
        self, tmp_path: Path, clipped: tuple[float, float], state: str
    ) -> None:
        space = {**SPACE, "sgd_clip": {**SPACE["sgd"], "max_norm": {"low": 0.1, "high": 10.0, "log": True}}}
        study = SmallStudy(tmp_path, "s")
        for optimizer, scores in (("sgd", SGD), ("sgd_clip", ADAM)):
            arm = study.arm(optimizer, space_json=json.dumps(space))
            study.retrain(arm, *scores)
        study.curve(study.trial(arm, "search", val_metric=0.9), 0.5, 0.9, clip_fraction=clipped)
        assert finding(tmp_path, "special cases included")[0] == state

    def test_is_asked_only_where_the_option_is_searched(self, tmp_path: Path) -> None:
        fixed = {**MOMENTUM, "nesterov": SPACE["sgd"]}
        assert self.study(tmp_path, fixed, ADAM, SGD)[0] == UNKNOWN
        point = {**MOMENTUM, "nesterov": {"momentum": {"low": 0.9, "high": 0.9}}}
        assert self.study(tmp_path / "point", point, ADAM, SGD)[0] == UNKNOWN

    def test_before_the_first_retrain_trial_nothing_is_known(self, tmp_path: Path) -> None:
        state, sentence = self.study(tmp_path, MOMENTUM, [], [])
        assert state == UNKNOWN and "No intervals yet" in sentence

    def test_of_one_seed_nothing_is_known(self, tmp_path: Path) -> None:
        state, sentence = self.study(tmp_path, MOMENTUM, [0.9], [0.8])
        assert state == UNKNOWN and "No intervals yet" in sentence

    @pytest.mark.parametrize("inclusion", INCLUSIONS, ids=lambda one: f"{one.special}-{one.general}")
    def test_names_are_those_of_the_table_of_optimizers(self, inclusion: Any) -> None:
        assert inclusion.special in OPTIMIZERS
        assert inclusion.option in OPTIMIZERS[inclusion.general].defaults

    def test_what_is_searched_is_a_range(self) -> None:
        assert searched(json.dumps(MOMENTUM), "nesterov") == {"learning_rate", "batch_size", "momentum"}
        assert searched(json.dumps(MOMENTUM), "lion") == set()


class TestTrivial:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_arms_are_counted_with_their_intervals(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        good = ADAM if sign > 0 else [0.05, 0.051, 0.049]
        study.retrain(study.arm("adam"), *good)  # the trivial score is 0.4
        assert finding(tmp_path, "better than trivial")[0] == GOOD
        study.retrain(study.arm("sgd"), 0.4, 0.35, 0.47)
        study.retrain(study.arm("lion"), None, None)
        state, sentence = finding(tmp_path, "better than trivial")
        assert state == BAD and sentence.startswith("1 of 3 arms better than the best constant prediction")

    def test_baselines_that_need_no_training(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        baselines = '{"val": {}, "test": {"nearest": 0.5, "bicubic": 0.93}}'
        study.retrain(study.arm("adam", baselines_json=baselines), *ADAM)
        study.retrain(study.arm("sgd", baselines_json=baselines), *SGD)
        sentence = finding(tmp_path, "better than trivial")[1]
        assert "; 2 better than nearest; 1 better than bicubic." in sentence

    def test_one_seed_has_no_interval(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.9)
        state, sentence = finding(tmp_path, "better than trivial")
        assert state == UNKNOWN and sentence.endswith("; 1 without an interval.")

    def test_an_arm_that_completed_nothing_counts(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        whole(study, "adam", *ADAM)
        lost = study.arm("sgd", planned_default=1, planned_random=0, planned_search=1)
        for stage in ("default", "search"):
            study.trial(lost, stage, "diverged")
        state, sentence = finding(tmp_path, "better than trivial")
        assert state == BAD and sentence.startswith("1 of 2 arms")


def test_environments_that_differ_are_named(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    study.retrain(arm, 0.8, 0.9, torch_version="2.9.0")
    assert finding(tmp_path, "one environment")[0] == GOOD
    study.trial(arm, "search", val_metric=0.5, torch_version="2.9.1")
    state, sentence = finding(tmp_path, "one environment")
    assert state == BAD and "2 environments, which differ in torch version (2.9.0 and 2.9.1)" in sentence


def test_a_trial_that_does_not_say_where_it_ran_is_no_environment(tmp_path: Path) -> None:
    """Its driver died behind its last epoch, and the next one ended it."""
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    study.retrain(arm, 0.8, 0.9, device="a CPU", backend="eager")
    study.trial(arm, "search", val_metric=0.4, device=None, backend=None, precision=None, threads=None)
    assert finding(tmp_path, "one environment")[0] == GOOD
    study.trial(arm, "search", val_metric=0.5, device="another CPU", backend="eager")
    state, sentence = finding(tmp_path, "one environment")
    assert state == BAD and "device (a CPU and another CPU)" in sentence


def test_runs_that_are_alike_are_named(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for optimizer, loss in (("adam", 0.5), ("adamw", 0.5), ("sgd", 0.7)):
        arm = study.arm(optimizer, best_config_id=optimizer)
        key = study.trial(arm, "retrain", seed=1, test_metric=0.9, config_id=optimizer)
        study.last_epoch(key, train_loss=loss, val_loss=loss, val_metric=0.9)
        if optimizer == "adam":
            assert finding(tmp_path, "no two runs alike")[0] == GOOD
    state, sentence = finding(tmp_path, "no two runs alike")
    assert state == BAD and sentence.endswith("from several runs that should differ: adam = adamw at 4/4.")
