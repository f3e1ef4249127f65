from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
import analysis.stats as stats_of
from analysis.stats.comparisons import compare
from analysis.stats.interaction import interact
from analysis.stats.quantization_words import change
from analysis.stats.ranking_words import ranking
from analysis.stats.retrained import by_board
from analysis.stats.scope import Scope
from analysis.stats.standings import stand
from analysis.stats.verdict import OPTIMIZERS, QUANTIZATION, Verdict, verdicts
from tests.analysis.stats.scores import FOUR_REPEATS, ONE_SEARCH, rows, studies
from tests.helpers.records import SmallStudy

NOISE = np.array([0.0012, -0.0008, 0.0004, -0.0011, 0.0003])
OTHER = np.array([-0.0005, 0.0009, 0.0002, -0.0004, -0.0002])


def near(mean: float, noise: np.ndarray = NOISE) -> list[float]:
    return [float(x) for x in mean + noise]


SGD_NOISE = np.array([0.0006, 0.0001, -0.0004, 0.0005, -0.0008])


ADAM, ADAMW, LION, SGD = near(0.95), near(0.951, OTHER), near(0.9503, OTHER[::-1]), near(0.9, SGD_NOISE)
SEED_OF = dict(zip(["adam", "adamw", "lion", "sgd"], [ADAM, ADAMW, LION, SGD], strict=True))


def said(by: dict[str, Any], scope: Scope = FOUR_REPEATS, reference: str | None = None, **facts: Any) -> str:
    scores = rows(by, **facts)
    fixed = {"s": reference} if reference else {}
    pairs = compare(scores, {}, fixed)
    return ranking(stand(scores, pairs, fixed), pairs, scope, reference=reference)


class TestRanking:
    def test_what_cannot_be_told_apart_and_what_is_worse(self) -> None:
        # By hand: adamw - sgd varies by (-11, 8, 6, -9, 6) / 10000, standard deviation 0.00092, half width 0.00115.
        expected = "adamw, lion and adam cannot be told apart; sgd is 5.10 points worse than adamw (4.99 .. 5.21)."
        assert said(SEED_OF) == expected

    def test_one_that_is_best(self) -> None:
        # By hand: the difference varies by (17, -17, 2, -7, 5) / 10000, standard deviation 0.00128; 2.776 of them
        # over the root of 5 are 0.00159.
        words = said({"adam": near(0.95), "sgd": near(0.9, OTHER)})
        assert words == "adam is best; sgd is 5.00 points worse (4.84 .. 5.16)."

    def test_many_that_are_worse_are_said_together(self) -> None:
        by = {name: near(0.9 - place / 50, np.roll(OTHER, place)) for place, name in enumerate("abcd")}
        words = said({"adam": near(0.95), **by})
        assert words.startswith("adam is best; a, b, c and d are worse (intervals from 4.") and words.endswith(
            " points)."
        )

    def test_none_is_told_from_another(self) -> None:
        assert said({"adam": ADAM, "lion": LION}, margin=1e-6) == "lion and adam cannot be told apart."
        close = {name: SEED_OF[name] for name in ("adam", "lion", "adamw")}
        assert said(close, margin=None) == "The 3 optimizers cannot be told apart."

    def test_equivalent_within_the_margin(self) -> None:
        words = said({"adam": ADAM, "lion": LION}, margin=0.005)
        assert words == "lion and adam are equivalent: no difference is as large as 0.5 points."
        words = said(SEED_OF, margin=0.005)
        assert words.startswith("adamw, lion and adam are equivalent; sgd is ")

    def test_minimised_metric(self) -> None:
        by = {"adam": [1 - x for x in ADAM], "sgd": [1 - x for x in SGD]}
        assert said(by, sign=-1, metric="error", trivial=0.9).startswith("adam is best; sgd is 5.00 points worse (4.")

    def test_unit_of_the_metric(self) -> None:
        by = {"adam": [27.0, 27.1, 27.2], "sgd": [26.0, 26.2, 26.1]}
        assert said(by, metric="psnr", unit="dB", trivial=11.0) == "adam is best; sgd is 1.0 dB worse (0.8 .. 1.2)."

    def test_an_arm_that_failed_now_and_then_is_compared_with_none(self) -> None:
        words = said({"adam": ADAM, "lion": near(0.94, OTHER), "sgd": [None, *SGD[1:]], "agc": [None] * 5})
        assert words.startswith("adam is best; lion is 1.00 points worse (") and "agc is 85" in words
        assert "sgd" not in words

    def test_all_failed(self) -> None:
        words = said({"adam": [None, None], "sgd": [None]})
        assert words == "Every retrain trial counts as the trivial score: nothing can be told."
        words = said({"adam": ADAM, "sgd": [None, *SGD[1:]]})
        assert words == "No two arms are left to be compared: nothing can be told."

    def test_one_arm_one_seed_or_no_spread(self) -> None:
        assert said({"adam": ADAM}) == "adam is the only optimizer with retrain trials: it is compared with none."
        assert said({"adam": [0.9], "sgd": [0.1]}) == "One seed: nothing can be told."
        same = said({"adam": [0.9, 0.8], "sgd": [0.9, 0.8]})
        assert same == "Scores of two optimizers never vary apart, or share fewer than two seeds: nothing can be told."

    def test_one_seed_of_an_arm_among_many(self) -> None:
        words = said({"adam": ADAM, "sgd": SGD, "lion": [0.99]})
        assert words.startswith("adam is best; sgd is 5.00 points worse (4.")
        assert words.endswith("Nothing can be told of lion, without an interval against any other.")

    def test_arm_with_three_seeds_among_five(self) -> None:
        assert said({"adam": ADAM, "sgd": SGD[:3]}).startswith("adam is best; sgd is 5.0 points worse (4.8")

    def test_pairs_that_differ_by_less_than_the_margin_say_so(self) -> None:
        # By hand: adam - lion is 0.0040 with a half width of 0.0010, within a margin of 0.01.
        by = {"adam": near(0.95), "lion": near(0.946, SGD_NOISE)}
        assert said(by, margin=0.01) == (
            "adam and lion are equivalent: no difference is as large as 1 point (they differ, but by less than the "
            "margin)."
        )
        words = said({**by, "sgd": near(0.9, OTHER)}, margin=0.01)
        assert words.startswith("adam and lion are equivalent (they differ, but by less than the margin); sgd is 5")

    def test_equivalent_and_not_known_are_two_things(self) -> None:
        wild = np.array([0.03, -0.02, 0.01, -0.02, 0.01])
        words = said({"adam": ADAM, "lion": LION, "sgd": near(0.95, wild)}, margin=0.005)
        assert words == "The 3 optimizers cannot all be told apart (1 of their 3 pairs are equivalent)."

    def test_every_one_is_told_beside_the_reference_alone(self) -> None:
        by = {"adam": near(0.95), "lion": near(0.96, OTHER), "sgd": near(0.90, OTHER), "adamw": near(0.9501, OTHER)}
        words = said(by, reference="adam", margin=0.002)
        assert (
            words.startswith("Against adam: lion is 1.00 points better (") and "; sgd is 5.00 points worse (" in words
        )
        assert words.endswith("; adamw is equivalent to it.")
        wide = {"adam": by["adam"], "adamw": near(0.951, np.array([0.01, -0.02, 0.01, 0.02, -0.02]))}
        assert said(wide, reference="adam") == "Against adam: adamw is not told apart from it."


class TestConfigurations:
    """The same boards where each search ran once: no sentence speaks of optimizers."""

    def test_one_beats_another(self) -> None:
        words = said({"adam": near(0.95), "sgd": near(0.9, OTHER)}, ONE_SEARCH)
        assert words == "The configuration found for adam beats the one found for sgd by 5.00 points (4.84 .. 5.16)."

    def test_what_cannot_be_told_apart_and_what_is_worse(self) -> None:
        assert said(SEED_OF, ONE_SEARCH) == (
            "The configurations found for adamw, lion and adam cannot be told apart; the one found for adamw beats the "
            "one found for sgd by 5.10 points (4.99 .. 5.21)."
        )

    def test_many_that_are_beaten_are_said_together(self) -> None:
        by = {name: near(0.9 - place / 50, np.roll(OTHER, place)) for place, name in enumerate("abcd")}
        words = said({"adam": near(0.95), **by}, ONE_SEARCH)
        assert words.startswith(
            "The configuration found for adam beats those found for a, b, c and d (intervals from 4."
        )

    def test_one_that_beats_the_runner_up_of_another(self) -> None:
        """The first beats b beyond doubt, and c is beaten by b alone, as c varies with b."""
        wild = np.array([0.02, -0.02, 0.01, 0.0, -0.01])
        by = {"a": near(0.95), "b": near(0.94, OTHER + wild), "c": near(0.93, wild)}
        words = said(by, ONE_SEARCH, margin=None)
        assert words.startswith("The configurations found for a and b cannot be told apart; the one found for b beats")

    def test_alike(self) -> None:
        close = {name: SEED_OF[name] for name in ("adam", "lion", "adamw")}
        words = said(close, ONE_SEARCH, margin=None)
        assert words == "The configurations found for the 3 optimizers cannot be told apart."
        words = said({"adam": ADAM, "lion": LION}, ONE_SEARCH, margin=0.005)
        assert words == (
            "The configurations found for lion and adam are equivalent: no difference is as large as 0.5 points."
        )

    def test_beside_a_reference(self) -> None:
        words = said({"adam": near(0.95), "sgd": near(0.9, OTHER)}, ONE_SEARCH, reference="adam")
        assert words.startswith(
            "Against the configuration found for adam: the one found for sgd is 5.00 points worse ("
        )


def changed(before: dict[str, Any], after: dict[str, Any], scope: Scope = FOUR_REPEATS, **facts: Any) -> str:
    full, four = rows(before, bits=32, **facts), rows(after, **facts)
    both = pd.concat([full, four])
    pairs = by_board(compare(both, {}))
    control = next(table for key, table in pairs.items() if key[-1] == 32)
    here = [table for key, table in pairs.items() if key[-1] == 4]
    return change("4/4", control, here[0] if here else control.iloc[:0], interact(both, {}), scope)


class TestQuantization:
    def test_another_is_best(self) -> None:
        words = changed({"adam": near(0.99), "sgd": near(0.98, OTHER)}, {"adam": near(0.90, OTHER), "sgd": near(0.95)})
        assert words.startswith("Quantization to 4/4 bits changes which optimizer is best: adam at 32/32, sgd at 4/4.")
        assert "It does change their differences: sgd gains 6.0 points on adam (5.7 .. 6.3)." in words

    def test_another_configuration_is_best(self) -> None:
        before, after = {"adam": near(0.99), "sgd": near(0.98, OTHER)}, {"adam": near(0.90, OTHER), "sgd": near(0.95)}
        words = changed(before, after, ONE_SEARCH)
        assert words.startswith(
            "Quantization to 4/4 bits changes which configuration is best: the one found for adam at 32/32, the one "
            "found for sgd at 4/4."
        )
        assert "the one found for sgd gains 6.0 points on the one found for adam (5.7 .. 6.3)." in words

    def test_the_same_is_best(self) -> None:
        words = changed(
            {"adam": near(0.99), "sgd": near(0.9, OTHER)}, {"adam": near(0.95), "sgd": near(0.85, SGD_NOISE)}
        )
        assert words.startswith("Quantization to 4/4 bits does not change which optimizer is best: adam.")
        assert words.endswith("It does change their differences: adam gains 1.00 points on sgd (0.89 .. 1.11).")

    def test_cannot_be_told(self) -> None:
        noisy = np.array([0.01, -0.01, 0.0, 0.02, -0.02])
        words = changed({"adam": ADAM, "sgd": near(0.95, OTHER)}, {"adam": near(0.9, noisy), "sgd": near(0.902)})
        assert words == (
            "Whether quantization to 4/4 bits changes which optimizer is best cannot be told. "
            "No difference between two of them changes significantly."
        )

    def test_one_that_stays_best_of_several_is_not_told_to_be_the_best_before(self) -> None:
        before = {"adam": near(0.99), "lion": near(0.99, OTHER)}
        words = changed(before, {"adam": near(0.95), "lion": near(0.90, SGD_NOISE)}, margin=None)
        assert words.startswith("Whether quantization to 4/4 bits changes which optimizer is best cannot be told.")

    def test_an_optimizer_without_control_has_no_say(self) -> None:
        before = {"adam": near(0.99), "sgd": near(0.9, OTHER)}
        after = {"adam": near(0.95), "sgd": near(0.85, SGD_NOISE), "lion": near(0.99, np.roll(OTHER, 1))}
        words = changed(before, after)
        assert words.startswith("Quantization to 4/4 bits does not change which optimizer is best: adam.")

    def test_no_difference_changes_by_the_margin(self) -> None:
        words = changed({"adam": ADAM, "lion": LION}, {"adam": near(0.9, OTHER), "lion": near(0.9)}, margin=0.01)
        assert words.endswith("No difference between two of them changes by as much as 1 point.")

    @pytest.mark.parametrize(
        ("after", "why"),
        [
            ({"adam": near(0.9)}, "fewer than two optimizers have scores there and at 32/32"),
            ({"adam": [0.9], "sgd": [0.8]}, "no two seeds are shared"),
            (
                {"adam": [x - 0.1 for x in ADAM], "sgd": [x - 0.2 for x in SGD]},
                "no difference between two of them varies",
            ),
        ],
    )
    def test_why_it_cannot_be_told(self, after: dict[str, Any], why: str) -> None:
        assert changed({"adam": ADAM, "sgd": SGD}, after).endswith(f"cannot be told: {why}.")


class TestThroughResults:
    def sentences(self, results: Path) -> dict[tuple[int | None, str], str]:
        return {(found.weight_bits, found.subject): found.sentence for found in verdicts(results)}

    def test_of_boards_and_of_quantization(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits, scores in ((32, {"adam": ADAM, "sgd": SGD}), (4, {"adam": ADAM, "sgd": SGD[:2]})):
            for optimizer, values in scores.items():
                study.retrain(study.arm(optimizer, bits, planned_retrain=5), *values)
        study.arm("lion", planned_retrain=5)
        found = self.sentences(tmp_path)
        words = "The configuration found for adam beats the one found for sgd by 5.00 points (4.85 .. 5.15)."
        assert found[(32, OPTIMIZERS)] == words
        assert found[(4, OPTIMIZERS)].endswith(
            " No retrain trial of lion has ended yet. So far, 7 of 15 retrain trials have ended."
        )
        assert set(found) == {(32, OPTIMIZERS), (4, OPTIMIZERS), (4, QUANTIZATION)}
        assert found[(4, QUANTIZATION)].startswith(
            "Whether quantization to 4/4 bits changes which configuration is best"
        )

    def test_sources_are_bundled_questions_and_tables(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.8, 0.9)
        verdict = verdicts(tmp_path)[0]
        assert isinstance(verdict, Verdict) and set(verdict.questions) <= set(analysis.queries())
        assert all(hasattr(stats_of, table) for table in verdict.tables)

    def test_nothing_has_ended(self, tmp_path: Path) -> None:
        SmallStudy(tmp_path, "s").arm("adam")
        assert self.sentences(tmp_path) == {(4, OPTIMIZERS): "No retrain trial has ended yet: nothing can be told."}

    def test_nothing_is_planned(self, tmp_path: Path) -> None:
        SmallStudy(tmp_path, "s").arm("adam", planned_retrain=0)
        words = "The study plans no retrain trials, the only ones that see test data: nothing can be told."
        assert self.sentences(tmp_path) == {(4, OPTIMIZERS): words}

    def test_nothing_was_completed(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer in ("adam", "sgd"):
            arm = study.arm(optimizer, planned_random=0, planned_search=1)
            for stage in ("default", "search"):
                study.trial(arm, stage, "diverged")
        words = "No arm completed a trial that could be trained again: nothing can be told."
        assert self.sentences(tmp_path) == {(4, OPTIMIZERS): words}
        study.retrain(study.arm("lion"), 0.8, 0.9, 0.7)
        words = "lion is the only optimizer with retrain trials: it is compared with none. "
        assert (
            self.sentences(tmp_path)[(4, OPTIMIZERS)]
            == words + "adam and sgd completed no trial that could be trained again."
        )

    def test_without_control_or_before_it_has_ended(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.8, 0.9)
        assert self.sentences(tmp_path)[(4, QUANTIZATION)].endswith("cannot be told: the study has no 32/32 arms.")
        study.arm("adam", 32)
        words = self.sentences(tmp_path)[(4, QUANTIZATION)]
        assert words.endswith("cannot be told: no retrain trial of the 32/32 arms has ended yet.")

    def test_a_joint_search_ranks_nothing(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s", mode="joint")
        study.retrain(study.arm(None, 4), 0.8, 0.9, optimizer="sgd")
        (verdict,) = verdicts(tmp_path)
        assert "no ranking" in verdict.sentence and verdict.weight_bits == 4


def mirrored(results: Path, name: str, sign: int) -> None:
    """Three optimizers at two bit widths: a seed that diverged, three seeds among five, a trial stopped at a rung."""
    study = SmallStudy(results, name, sign=sign)

    def at(score: float | None) -> float | None:
        return score if score is None or sign > 0 else 1 - score

    scores: dict[int, dict[str, list[Any]]] = {
        32: {"adam": near(0.99), "lion": near(0.9899, OTHER), "sgd": near(0.97, SGD_NOISE)},
        4: {"adam": near(0.95), "lion": near(0.93, OTHER)[:3], "sgd": [0.9, None, 0.91, 0.905, 0.9]},
    }
    for bits, arms in scores.items():
        for optimizer, values in arms.items():
            trivial = {"trivial_score": at(0.4), "trivial_test_score": at(0.4)}
            arm = study.arm(optimizer, bits, planned_retrain=5, margin=0.002, **trivial)
            study.trial(arm, "default", val_metric=at(0.9))
            study.trial(arm, "search", "stopped", stop_reason="asha", rung=1, epochs_run=1, val_metric=at(0.99))
            study.retrain(arm, *map(at, values))


@pytest.mark.slow
def test_a_minimised_metric_is_told_in_the_same_words(tmp_path: Path) -> None:
    mirrored(tmp_path, "larger", 1)
    mirrored(tmp_path, "smaller", -1)
    asked = analysis.answers(tmp_path)
    words = {name: [v.sentence for v in verdicts(asked) if v.study_id == name] for name in ("larger", "smaller")}
    assert words["larger"] == words["smaller"]
    # By hand: adam - lion is 0.01 and less than 0.16 points off, within the margin of 0.2; adam - sgd varies by
    # (6, -9, 8, -16, 11) / 10000, half width 0.00147.
    told = (
        "The configurations found for adam and lion are equivalent; the one found for adam beats the one found for sgd "
    )
    assert words["larger"][0] == told + "by 2.00 points (1.85 .. 2.15)."
    assert "sgd in 1 of 5 seeds" in words["larger"][1] and "So far, 13 of 15 retrain" in words["larger"][1]
    badge = {name: [b.sentence for b in stats_of.badges(asked) if b.study_id == name] for name in words}
    assert badge["larger"] == badge["smaller"]


class TestManyStudies:
    """Hundreds of studies of ten optimizers with known truth, through the code that words the verdict."""

    @staticmethod
    def words(scores: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        # Takes most of the time, and no verdict reads it.
        monkeypatch.setitem(stand.__globals__, "p_best", lambda scores: np.zeros(scores.shape[1]))
        frame = studies(scores, margin=None)
        pairs = compare(frame, {})
        by = by_board(pairs)
        return [ranking(standing, by[key], FOUR_REPEATS) for key, standing in by_board(stand(frame, pairs)).items()]

    @pytest.mark.slow
    @pytest.mark.parametrize("seeds", [3, 5])
    def test_a_true_null_cannot_be_told_apart_in_95_of_100(self, seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(seeds)
        noise = rng.standard_normal((400, seeds, 10)) * np.geomspace(0.001, 0.005, 10)
        words = self.words(0.9 + rng.normal(0, 0.003, (400, seeds, 1)) + noise, monkeypatch)
        assert np.mean([said == "The 10 optimizers cannot be told apart." for said in words]) >= 0.95

    @pytest.mark.slow
    def test_where_quantization_changes_nothing_95_of_100_say_no_other_thing(self) -> None:
        rng = np.random.default_rng(7)
        shared = rng.normal(0, 0.003, (300, 5, 1))
        full, four = (level + shared + 0.002 * rng.standard_normal((300, 5, 10)) for level in (0.99, 0.95))
        both = pd.concat([studies(full, bits=32, margin=None), studies(four, margin=None)])
        pairs, differences = by_board(compare(both, {})), by_board(interact(both, {}))
        words = []
        for key, found in differences.items():
            control = next(pairs[other] for other in pairs if other[0] == key[0] and other[-1] == 32)
            words.append(change("4/4", control, pairs[key], found, FOUR_REPEATS))
        told = [not (said.startswith("Whether") and "changes significantly" in said) for said in words]
        assert len(told) == 300 and np.mean(told) <= 0.075  # 0.05 and two standard errors of a share of 300

    def test_a_large_true_difference_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        scores = 0.9 + 0.001 * rng.standard_normal((200, 5, 10))
        scores[:, :, 3] -= 0.05
        words = self.words(scores, monkeypatch)
        assert np.mean(["; o3 is " in said and "points worse than" in said for said in words]) >= 0.95
