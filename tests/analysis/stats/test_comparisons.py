from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import analysis
import analysis.stats as stats_of
from analysis.figures.boards import labels
from analysis.report.verdict import verdict
from analysis.stats.comparisons import BETTER, COLUMNS, EQUIVALENT, UNTOLD, compare
from analysis.stats.intervals import ALL_THE_SAME, TOO_FEW, TWO_HUMPS
from tests.analysis.stats.scores import rows, studies
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tune_qat.cli.run_summary import _boards

EXACT = 1e-10  # stdtrit and t.ppf agree to about 1e-13
PUBLISHED = Path(__file__).parents[3] / "docs" / "results"
ADAM, LION, SGD = [0.81, 0.84, 0.80, 0.83, 0.82], [0.815, 0.845, 0.798, 0.83, 0.825], [0.70, 0.74, 0.69, 0.72, 0.71]


def pairs(scores: pd.DataFrame, alpha: float | None = None) -> pd.DataFrame:
    return compare(scores, {} if alpha is None else {"s": alpha}).set_index(["optimizer", "other"])


def paired(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Interval and p of the difference by scipy."""
    found = stats.ttest_rel(a, b)
    interval = found.confidence_interval(0.95)
    return interval.low, interval.high, found.pvalue


def test_pairs_are_compared_by_seed_the_better_first() -> None:
    found = pairs(rows({"sgd": SGD, "adam": ADAM, "lion": LION}))
    assert set(found.index) == {("adam", "sgd"), ("lion", "adam"), ("lion", "sgd")}
    for (a, b), values in {("adam", "sgd"): (ADAM, SGD), ("lion", "adam"): (LION, ADAM)}.items():
        row = found.loc[(a, b)]
        assert row[["ci_low", "ci_high", "p"]].tolist() == pytest.approx(list(paired(*values)), rel=1e-8)
        assert row["difference"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]), abs=EXACT)
        assert (row["n"], row["paired_by"]) == (5, "seed") and pd.isna(row["why"])
    assert found.loc[("adam", "sgd"), "outcome"] == BETTER
    assert found.loc[("lion", "adam"), "outcome"] == UNTOLD


def test_seeds_that_both_have_are_paired_and_the_others_left_out() -> None:
    found = pairs(rows({"adam": ADAM, "sgd": [0.69, 0.72, 0.77]}, seeds={"sgd": [3, 4, 1]})).iloc[0]
    low, high, p = paired([0.80, 0.83, 0.81], [0.69, 0.72, 0.77])
    assert found[["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)
    assert (found["n"], found["paired_by"]) == (3, "seed")


def test_without_seeds_in_common_it_is_welch() -> None:
    found = pairs(rows({"adam": ADAM, "sgd": [0.69, 0.72, 0.77]}, seeds={"sgd": [5, 6, 7]})).iloc[0]
    theirs = stats.ttest_ind(ADAM, [0.69, 0.72, 0.77], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    expected = [interval.low, interval.high, theirs.pvalue]
    assert found[["ci_low", "ci_high", "p"]].tolist() == pytest.approx(expected, rel=1e-8)
    assert (found["n"], found["paired_by"]) == (3, "nothing (Welch)")


def test_smaller_is_better_where_the_metric_is_minimised() -> None:
    errors = {name: [1 - score for score in scores] for name, scores in {"adam": ADAM, "sgd": SGD}.items()}
    found = pairs(rows(errors, sign=-1, metric="error"))
    low, high, p = paired(ADAM, SGD)
    assert found.index.tolist() == [("adam", "sgd")]
    assert found.iloc[0][["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)
    assert found.iloc[0]["outcome"] == BETTER


@pytest.mark.parametrize("sign", [1, -1])
def test_where_some_runs_failed_there_is_a_mean_and_no_t_interval(sign: int) -> None:
    adam = [0.81, 0.84, 0.80]
    sgd = [0.79, None, 0.78]
    if sign < 0:
        adam, sgd = [1 - x for x in adam], [0.21, None, 0.22]
    scores = rows({"adam": adam, "sgd": sgd}, sign=sign, trivial=0.1 if sign > 0 else 0.9)
    found = pairs(scores).iloc[0]
    assert found["difference"] == pytest.approx(np.mean([0.02, 0.74, 0.02]), abs=EXACT)
    assert (found["outcome"], found["why"]) == (UNTOLD, TWO_HUMPS) and found[["ci_low", "ci_high", "p"]].isna().all()


@pytest.mark.parametrize("sign", [1, -1])
def test_where_all_runs_failed_they_count_as_the_trivial_score(sign: int) -> None:
    adam = [0.81, 0.84, 0.80]
    scores = rows({"adam": adam if sign > 0 else [1 - x for x in adam], "sgd": [None] * 3}, sign=sign,
                  trivial=0.1 if sign > 0 else 0.9)  # fmt: skip
    low, high, p = paired(adam, [0.1] * 3)
    found = pairs(scores).iloc[0]
    assert found[["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)
    assert found["outcome"] == BETTER


def test_all_pairs_of_a_workload_are_corrected_together() -> None:
    scores = pd.concat(
        [
            rows({"sgd": SGD, "adam": ADAM, "lion": LION}),
            rows({"sgd": SGD, "adam": LION}, bits=32),
            rows({"sgd": LION, "adam": ADAM}, method="pact"),
            rows({"sgd": SGD, "adam": ADAM}, study="other"),
        ]
    )
    found = compare(scores, {})
    one = found[found["study_id"] == "s"]
    assert len(one) == 5
    assert one["p_holm"].tolist() == pytest.approx(multipletests(one["p"], method="holm")[1].tolist(), rel=EXACT)
    other = found[found["study_id"] == "other"]
    assert other["p_holm"].tolist() == pytest.approx(other["p"].tolist(), rel=EXACT)


def test_level_is_the_one_that_the_study_has_fixed() -> None:
    scores = rows({"adam": [0.81, 0.84, 0.80], "sgd": [0.70, 0.68, 0.72]})
    p = pairs(scores).iloc[0]["p_holm"]
    assert 0.005 < p < 0.05
    assert [pairs(scores, level).iloc[0]["outcome"] for level in (0.05, 0.005)] == [BETTER, UNTOLD]


def test_equivalent_is_an_interval_within_the_margin() -> None:
    close = {"adam": [0.8100, 0.8400, 0.8000, 0.8300], "lion": [0.8102, 0.8401, 0.8001, 0.8302]}
    assert paired(close["lion"], close["adam"])[2] < 0.05
    found = pairs(rows(close, margin=0.001)).iloc[0]
    assert found["outcome"] == EQUIVALENT, "a difference, but one that the study has said does not matter"
    narrow = {margin: pairs(rows(close, margin=margin)).iloc[0]["outcome"] for margin in (0.0002, 0.0, None)}
    assert found["better"] and found["equivalent"], "both are said"
    assert narrow == {0.0002: BETTER, 0.0: BETTER, None: BETTER}, "an end of the interval lies outside"


@pytest.mark.parametrize(
    ("lion", "why"),
    [([0.81, 0.84, 0.80], ALL_THE_SAME), ([0.71, 0.74, 0.70], ALL_THE_SAME), ([0.9], TOO_FEW)],
)
def test_runs_that_are_the_same_or_too_few_are_not_told_apart(lion: list[float], why: str) -> None:
    found = pairs(rows({"adam": [0.81, 0.84, 0.80], "lion": lion})).iloc[0]
    assert (found["outcome"], found["why"]) == (UNTOLD, why)
    assert found[["ci_low", "ci_high", "p", "p_holm", "paired_by"]].isna().all()


def test_repeats_are_what_repeats_the_experiment_where_there_are_several() -> None:
    first = rows({"adam": [0.81, 0.83], "sgd": [0.70, 0.72]})
    second = rows({"adam": [0.85, 0.83], "sgd": [0.79, 0.73]}, repeat=1)
    second["seed"] += 1000
    found = pairs(pd.concat([first, second])).iloc[0]
    low, high, p = paired([0.82, 0.84], [0.71, 0.76])
    assert found[["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)
    assert (found["n"], found["paired_by"]) == (2, "repeat")


class TestReference:
    """Comparisons with one optimizer that the study has fixed."""

    SCORES: ClassVar = {"sgd": SGD, "adam": ADAM, "lion": LION}

    def test_pairs_are_those_with_it_and_corrected_over_these(self) -> None:
        both = pd.concat([rows(self.SCORES), rows(self.SCORES, bits=32)])
        found = compare(both, {}, {"s": "adam"})
        assert [{a, b} for a, b in zip(found["optimizer"], found["other"], strict=True)] == [
            {"adam", "lion"}, {"adam", "sgd"}
        ] * 2  # fmt: skip
        assert found["p_holm"].tolist() == pytest.approx(
            multipletests(found["p"], method="holm")[1].tolist(), rel=EXACT
        )
        every = compare(both, {})
        assert len(every) == 6 and (every["p_holm"].min() > found["p_holm"].min())

    def test_that_is_not_on_a_board_makes_no_pair(self) -> None:
        assert compare(rows({"sgd": SGD, "lion": LION}), {}, {"s": "adam"}).empty

    def test_is_read_from_the_definition_and_older_ones_name_none(self, tmp_path: Path) -> None:
        for name, judged in (("with", '{"judgement": {"reference": "adam"}}'), ("without", '{"judgement": {}}')):
            study = SmallStudy(tmp_path, name)
            for optimizer, scores in self.SCORES.items():
                study.retrain(study.arm(optimizer), *scores)
            write(tmp_path, name, "studies", "study", filled("studies", definition_json=judged))
        asked = analysis.answers(tmp_path)
        assert stats_of.comparisons(asked).groupby("study_id").size().to_dict() == {"with": 2, "without": 3}
        standings = stats_of.standings(asked).groupby("study_id")["letters"].agg(list).to_dict()
        assert standings["with"] == ["", "", ""], "of lion and sgd nothing was asked"
        assert all(standings["without"])


class TestWholeStudies:
    """Blocks of repeats in several files, and boards that are none of one another."""

    def blocks(self, results: Path, init: Sequence[str] = ("pretrain", "pretrain")) -> pd.DataFrame:
        for block, start in enumerate(init):
            study = SmallStudy(results, f"block{block}")
            for repeat in (2 * block, 2 * block + 1):
                for optimizer, scores in (("adam", ADAM), ("sgd", SGD)):
                    arm = study.arm(optimizer, arm_id=f"{optimizer}-{repeat}", repeat=repeat, whole="whole", init=start)
                    study.retrain(arm, scores[repeat])
        return stats_of.comparisons(results)

    def test_blocks_of_repeats_are_one_board(self, tmp_path: Path) -> None:
        found = self.blocks(tmp_path)
        low, high, p = paired(ADAM[:4], SGD[:4])
        assert found[["study_id", "n", "paired_by"]].values.tolist() == [["whole", 4, "repeat"]]
        assert found.iloc[0][["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)

    def test_another_start_is_another_board(self, tmp_path: Path) -> None:
        found = self.blocks(tmp_path, ("pretrain", "scratch"))
        assert found[["study_id", "n"]].values.tolist() == [["block0", 2], ["block1", 2]]

    def test_a_worsened_control_and_another_step_optimizer_are_told_apart(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        floats: dict[str, Any] = {"quantizer": "none", "method": "none"}
        for optimizer, scores in (("adam", ADAM), ("sgd", SGD)):
            study.retrain(study.arm(optimizer), *scores)
            study.retrain(study.arm(optimizer, 32, **floats), *scores)
            worsened = {**floats, "control": "worsened", "control_for": "4/4", "arm_id": f"{optimizer}-worsened"}
            study.retrain(study.arm(optimizer, 32, **worsened), *scores)
        study.retrain(study.arm("sgd", step_optimizer="adam", arm_id="sgd-adam-steps"), *LION)
        asked = analysis.answers(tmp_path)
        found = stats_of.standings(asked)
        assert found.groupby(["method", "weight_bits"])["optimizer"].agg(list).to_dict() == {
            ("lsq", 4): ["sgd + adam steps", "adam", "sgd"],
            ("none", 32): ["adam", "sgd"],
            ("worsened for 4/4", 32): ["adam", "sgd"],
        }
        assert set(asked.frame("leaderboard")["optimizer"]) == {"sgd + adam steps", "adam", "sgd"}
        assert set(labels(asked.frame("leaderboard"))) == {"4/4", "32/32", "32/32 worsened for 4/4"}
        assert {one for said in verdict(asked) for one in said["lines"]} >= {"4/4", "32/32", "32/32 worsened for 4/4"}
        heads = [block.partition(": ")[0] for block in _boards(asked.frame("leaderboard"), named=False)]
        assert heads == [
            f"m-d at {bits}, accuracy (%)" for bits in ("32/32 bits", "32/32 bits, worsened for 4/4", "4/4 bits")
        ]
        changed = stats_of.interaction(asked)
        assert len(changed) == 3, "the control of steps by Adam is that of the weights' optimizer"


def test_equal_and_different_are_both_said_of_the_published_record() -> None:
    found = stats_of.comparisons(PUBLISHED / "espcn_photos" / "record")
    floats = found[found["weight_bits"] == 32]
    assert [len(floats), floats["better"].sum(), floats["equivalent"].sum()] == [45, 40, 45]


def test_joint_searches_and_single_arms_have_no_pairs() -> None:
    joint = rows({"adam": ADAM, "sgd": SGD}).assign(mode="joint")
    for scores in (joint, rows({"adam": ADAM}), joint.iloc[:0]):
        found = compare(scores, {})
        assert list(found) == COLUMNS and found.empty


def test_it_is_asked_of_results(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), *ADAM)
    study.retrain(study.arm("sgd"), *SGD[:4])
    found = stats_of.comparisons(tmp_path).iloc[0]
    low, high, p = paired(ADAM[:4], SGD[:4])
    assert found[["ci_low", "ci_high", "p"]].tolist() == pytest.approx([low, high, p], rel=1e-8)
    assert found[["optimizer", "other", "n"]].tolist() == ["adam", "sgd", 4]


class TestManyStudies:
    """Ten optimizers with the same true mean, seeds that all share, and noise that differs tenfold between them."""

    @staticmethod
    def made_up(seeds: int, shift: float = 0.0, **facts: Any) -> pd.DataFrame:
        rng = np.random.default_rng(seeds)
        noise = rng.standard_normal((1000, seeds, 10)) * np.geomspace(0.001, 0.01, 10)
        scores = 0.7 + rng.normal(0, 0.005, (1000, seeds, 1)) + noise
        scores[:, :, 0] -= shift
        return compare(studies(scores, **facts), {})

    @pytest.mark.parametrize("seeds", [3, 5, 10])
    def test_of_no_true_difference_95_of_100_find_none(self, seeds: int) -> None:
        found = self.made_up(seeds, margin=None)
        wrong = found[found["outcome"] == BETTER]["study_id"].nunique() / 1000
        assert wrong <= 0.05, "the share of studies with any false difference"
        # Each interval by itself covers the true difference of 0: 45,000 of them, of which 1,000 studies are apart.
        covered = ((found["ci_low"] < 0) & (found["ci_high"] > 0)).mean()
        assert 0.94 < covered < 0.96

    def test_a_true_difference_ten_times_the_noise_is_found(self) -> None:
        found = self.made_up(5, shift=0.1)
        against = found[found["other"] == "o0"]
        assert (against["outcome"] == BETTER).mean() > 0.95
