from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import analysis
import analysis.stats as stats_of
from analysis.stats.comparisons import COLUMNS, EQUIVALENT, UNTOLD
from analysis.stats.interaction import GAINS, interact
from tests.analysis.stats.scores import rows, studies
from tests.helpers.records import SmallStudy

FLOAT = {"adam": [0.91, 0.92, 0.90], "lion": [0.92, 0.93, 0.93], "sgd": [0.90, 0.88, 0.91]}
FOUR = {"adam": [0.86, 0.85, 0.86], "lion": [0.80, 0.83, 0.79], "sgd": [0.84, 0.81, 0.86]}


def both(float_scores: dict[str, list[float]], scores: dict[str, list[float]], **facts: Any) -> pd.DataFrame:
    return pd.concat([rows(float_scores, bits=32, **facts), rows(scores, **facts)])


def by_hand(first: str, other: str, n: int = 3) -> tuple[list[float], float]:
    """Difference, interval and p of the difference of differences, seed by seed, by scipy."""
    of = {name: np.array(FOUR[name][:n]) - np.array(FLOAT[name][:n]) for name in (first, other)}
    found = stats.ttest_rel(of[first], of[other])
    interval = found.confidence_interval(0.95)
    return [(of[first] - of[other]).mean(), interval.low, interval.high], found.pvalue


@pytest.mark.parametrize("sign", [1, -1])
def test_differences_of_differences_are_by_seed(sign: int) -> None:
    scores = (
        both(FLOAT, FOUR, sign=sign) if sign > 0 else both(FLOAT, FOUR, sign=-1).assign(score=lambda x: 1 - x["score"])
    )
    found = interact(scores, {}).set_index(["optimizer", "other"])
    assert set(found.index) == {("adam", "lion"), ("adam", "sgd"), ("sgd", "lion")}
    for pair in found.index:
        expected, p = by_hand(*pair)
        assert found.loc[pair, ["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(expected, abs=1e-9)
        assert found.loc[pair, "p"] == pytest.approx(p, rel=1e-6)
        assert found.loc[pair, ["n", "paired_by", "weight_bits"]].tolist() == [3, "seed", 4]
    assert found["p_holm"].tolist() == pytest.approx(multipletests(found["p"], method="holm")[1].tolist(), rel=1e-9)


def test_it_gains_or_is_equivalent_or_cannot_be_told() -> None:
    found = interact(both(FLOAT, {"adam": [0.86, 0.87, 0.85], "lion": [0.80, 0.81, 0.8105]}), {})
    assert found[["optimizer", "other", "outcome"]].values.tolist() == [["adam", "lion", GAINS]]
    close = {name: [x - 0.05 + 1e-5 * seed for seed, x in enumerate(FLOAT[name])] for name in ("adam", "lion")}
    close["adam"] = [0.86, 0.87, 0.85]
    assert interact(both(FLOAT, close), {})["outcome"].tolist() == [EQUIVALENT]
    assert interact(both(FLOAT, {**FOUR, "adam": [0.9, 0.7, 0.8]}), {})["outcome"].eq(UNTOLD).any()


def test_seeds_and_optimizers_that_either_lacks_are_left_out() -> None:
    scores = both({**FLOAT, "agc": [0.5, 0.5]}, {**FOUR, "nadam": [0.5, 0.6]})
    scores = scores[~((scores["optimizer"] == "lion") & (scores["seed"] == 3) & (scores["weight_bits"] == 4))]
    found = interact(scores, {}).set_index(["optimizer", "other"])
    expected, _ = by_hand("adam", "lion", 2)
    assert found.loc[("adam", "lion"), ["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    assert found["n"].to_dict() == {("adam", "lion"): 2, ("adam", "sgd"): 3, ("sgd", "lion"): 2}


def test_boards_are_paired_by_seed_and_not_by_order() -> None:
    later = {name: [2, 3, 4] for name in FOUR}
    scores = pd.concat([rows(FLOAT, bits=32), rows(FOUR, seeds=later)])
    found = interact(scores, {}).set_index(["optimizer", "other"]).loc[("adam", "lion")]
    # Seeds 2 and 3 are the control's last two and the quantized arms' first two.
    of = {name: np.array(FOUR[name][:2]) - np.array(FLOAT[name][1:]) for name in ("adam", "lion")}
    interval = stats.ttest_rel(of["adam"], of["lion"]).confidence_interval(0.95)
    assert found["n"] == 2
    assert found[["ci_low", "ci_high"]].tolist() == pytest.approx([interval.low, interval.high], abs=1e-9)


def test_without_a_control_or_with_one_arm_there_is_nothing() -> None:
    for scores in (rows(FOUR), rows(FLOAT, bits=32), both({"adam": [0.9, 0.8]}, {"adam": [0.8, 0.7]}), rows(FOUR)[:0]):
        found = interact(scores, {})
        assert list(found) == COLUMNS and found.empty


def test_methods_and_bits_share_the_control_and_one_correction() -> None:
    scores = pd.concat([both(FLOAT, FOUR), rows(FOUR, method="pact"), rows(FOUR, bits=2), both(FLOAT, FOUR, study="b")])
    found = interact(scores, {})
    assert found.groupby(["study_id", "method", "weight_bits"]).size().to_dict() == {
        ("s", "lsq", 4): 3, ("s", "pact", 4): 3, ("s", "lsq", 2): 3, ("b", "lsq", 4): 3,
    }  # fmt: skip
    one = found[found["study_id"] == "s"]
    assert one["p_holm"].tolist() == pytest.approx(multipletests(one["p"], method="holm")[1].tolist(), rel=1e-9)


class TestThroughResults:
    def results(self, folder: Path, *, diverged: bool = False) -> Path:
        study = SmallStudy(folder, "s")
        for name in FLOAT:
            study.retrain(study.arm(name, 32, quantizer="none"), *FLOAT[name])
            study.retrain(study.arm(name), *([None] * 3 if diverged and name == "lion" else FOUR[name]))
        return folder

    def test_effects_are_the_changes_and_what_they_are_beside_their_mean(self, tmp_path: Path) -> None:
        found = stats_of.quantization_effects(self.results(tmp_path)).set_index("optimizer")
        changes = {name: np.array(FOUR[name]) - np.array(FLOAT[name]) for name in FLOAT}
        mean = np.mean(list(changes.values()), axis=0)
        p = []
        for name, change in changes.items():
            expected = stats.ttest_1samp(change, 0).confidence_interval(0.95)
            assert found.loc[name, ["ci_low", "ci_high"]].tolist() == pytest.approx([*expected], abs=1e-9)
            beside = stats.ttest_1samp(change - mean, 0)
            interval = [(change - mean).mean(), *beside.confidence_interval(0.95)]
            assert found.loc[name, ["relative", "relative_low", "relative_high"]].tolist() == pytest.approx(interval)
            p.append(beside.pvalue)
        assert found["relative"].sum() == pytest.approx(0, abs=1e-12)
        assert found["relative_p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())

    def test_an_arm_that_diverges_moves_the_mean_and_not_the_pairs_of_the_others(self, tmp_path: Path) -> None:
        results = self.results(tmp_path, diverged=True)
        pairs = stats_of.interaction(results).set_index(["optimizer", "other"])
        assert pairs.loc[("adam", "sgd"), ["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(
            by_hand("adam", "sgd")[0]
        )
        # Against 0.4, the trivial score.
        change = np.mean([0.4 - x for x in FLOAT["lion"]])
        effects = stats_of.quantization_effects(results).set_index("optimizer")
        assert effects.loc["lion", "change"] == pytest.approx(change, abs=1e-12)

    def test_the_bundled_question_says_the_same(self, tmp_path: Path) -> None:
        asked = analysis.answers(self.results(tmp_path))
        question = asked.frame("quantization_effect").set_index("optimizer")
        effects = stats_of.quantization_effects(asked).set_index("optimizer")
        for name in FLOAT:
            ours = effects.loc[name, ["change", "ci_low", "ci_high"]].tolist()
            theirs = -question.loc[name, ["loss", "ci_high", "ci_low"]].astype(float)
            assert ours == pytest.approx(theirs.tolist(), abs=1e-9)
        pairs = stats_of.interaction(asked).set_index(["optimizer", "other"])
        gains = question["gain"].astype(float)
        assert pairs.loc[("adam", "sgd"), "difference"] == pytest.approx(gains["adam"] - gains["sgd"], abs=1e-9)

    def test_overall_test_is_the_smallest_p_times_the_pairs(self, tmp_path: Path) -> None:
        found = stats_of.interaction_test(self.results(tmp_path))
        smallest = min(by_hand(*pair)[1] for pair in (("adam", "lion"), ("adam", "sgd"), ("sgd", "lion")))
        assert found[["weight_bits", "optimizers", "pairs"]].values.tolist() == [[4, 3, 3]]
        assert found["p"][0] == pytest.approx(min(1, 3 * smallest), rel=1e-6)

    def test_of_nothing_there_is_nothing(self, tmp_path: Path) -> None:
        SmallStudy(tmp_path, "s").arm("adam")
        for table in (stats_of.interaction, stats_of.interaction_test, stats_of.quantization_effects):
            assert table(tmp_path).empty


@pytest.mark.parametrize("spread", [1, 10], ids=["equal spreads", "one arm ten times the spread"])
@pytest.mark.parametrize("seeds", [3, 5])
def test_of_no_interaction_95_of_100_studies_find_none(seeds: int, spread: int) -> None:
    # Optimizers differ, and every one loses 0.03 at 4 bits; those that spread more do so at 4 bits alone.
    rng = np.random.default_rng([seeds, spread])
    ranks = np.linspace(0, 0.02, 10)
    sd = 0.002 * np.r_[spread, np.ones(9)]
    shared = rng.normal(0, 0.003, (1000, seeds, 1))
    full = 0.9 + ranks + shared + 0.002 * rng.standard_normal((1000, seeds, 10))
    four = 0.87 + ranks + shared + sd * rng.standard_normal((1000, seeds, 10))
    found = interact(pd.concat([studies(full, bits=32), studies(four)]), {})
    # 50 expected at most, and two standard errors of a count of 1,000; 20,000 studies are in benchmarks/coverage.py.
    assert found[found["outcome"] == GAINS]["study_id"].nunique() <= 64
    # The overall test, of one board alone, is the same: p times the pairs is Holm's smallest.
    assert (found.groupby("study_id")["p"].min() * 45 <= 0.05).sum() <= 64
