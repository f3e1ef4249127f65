import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

import analysis.stats as stats_of
from analysis.stats.best import p_best
from analysis.stats.comparisons import compare
from analysis.stats.groups import alikes, letters
from analysis.stats.intervals import ALL_THE_SAME, TOO_FEW, TWO_HUMPS
from analysis.stats.standings import stand
from tests.analysis.stats.scores import rows
from tests.helpers.records import SmallStudy


class TestLetters:
    def test_results_that_are_not_transitive(self) -> None:
        assert letters("abc", [("a", "c")]) == {"a": "a", "b": "ab", "c": "b"}

    def test_ends(self) -> None:
        assert letters([], []) == {}
        assert letters(["adam"], []) == {"adam": "a"}
        assert letters("abc", []) == {"a": "a", "b": "a", "c": "a"}
        assert letters("abc", itertools.combinations("abc", 2)) == {"a": "a", "b": "b", "c": "c"}

    def test_groups_that_overlap(self) -> None:
        apart = [(1, 7), (1, 8), (2, 4), (2, 5), (3, 5)]
        found = letters([str(name) for name in range(1, 9)], [(str(a), str(b)) for a, b in apart])
        for a, b in itertools.combinations(range(1, 9), 2):
            share = bool(set(found[str(a)]) & set(found[str(b)]))
            assert share == ((a, b) not in apart)

    @pytest.mark.parametrize("seed", range(20))
    def test_are_those_of_scikit_posthocs_and_share_a_letter_only_where_not_apart(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        names = [f"o{index}" for index in range(rng.integers(2, 11))]
        p = pd.DataFrame(1.0, names, names)
        apart = [pair for pair in itertools.combinations(names, 2) if rng.random() < 0.4]
        for a, b in apart:
            p.loc[a, b] = p.loc[b, a] = 0.01
        found = letters(names, apart)
        for a, b in itertools.combinations(names, 2):
            assert bool(set(found[a]) & set(found[b])) == ((a, b) not in apart)
        theirs = scikit_posthocs.compact_letter_display(p)
        # Which letter is which is not the same where two groups begin with the same name.
        groups = [
            {frozenset(name for name in names if letter in of[name]) for letter in "abcdefghijklmnop"}
            for of in (found, theirs.to_dict())
        ]
        assert groups[0] == groups[1]


class TestAlikes:
    def test_share_a_number_only_where_they_are_equal(self) -> None:
        assert alikes("abcd", [("a", "b"), ("b", "c")]) == {"a": "1", "b": "12", "c": "2", "d": ""}
        assert alikes("abc", itertools.combinations("abc", 2)) == {"a": "1", "b": "1", "c": "1"}
        assert alikes("ab", []) == {"a": "", "b": ""}

    def test_equivalent_and_not_known_share_no_sign(self) -> None:
        # adam and lion are equivalent, and of sgd, which scatters, nothing is known.
        adam, lion = [0.80, 0.82, 0.81], [0.8001, 0.8199, 0.8101]
        scores = rows({"adam": adam, "lion": lion, "sgd": [0.7, 0.9, 0.8]}, margin=0.001)
        found = stand(scores, compare(scores, {})).set_index("optimizer")
        assert found["equivalents"].to_dict() == {"adam": "1", "lion": "1", "sgd": ""}
        assert not set(found.loc["adam", "letters"]) & set(found.loc["lion", "letters"])
        assert all(set(found.loc[name, "letters"]) & set(found.loc["sgd", "letters"]) for name in ("adam", "lion"))


class TestPBest:
    def test_of_two_it_is_the_paired_t_test(self) -> None:
        a, b = np.array([0.81, 0.84, 0.80, 0.83]), np.array([0.80, 0.84, 0.78, 0.835])
        found = p_best(np.column_stack([a, b]))
        # One-sided p of the paired test is the posterior probability; four standard errors of a share of 20,000.
        expected = stats.ttest_rel(a, b, alternative="less").pvalue
        assert found[0] == pytest.approx(expected, abs=0.014)
        assert found.sum() == pytest.approx(1, abs=1e-12)

    def test_of_many_rows_it_is_the_multivariate_t(self) -> None:
        rng = np.random.default_rng(5)
        scores = rng.standard_normal((8, 1)) + 0.3 * rng.standard_normal((8, 3)) + [0.0, 0.1, 0.15]
        shape = np.cov(scores, rowvar=False) / 8
        draws = stats.multivariate_t(scores.mean(axis=0), shape, df=7, seed=6).rvs(200_000)
        theirs = np.bincount(draws.argmax(axis=1), minlength=3) / 200_000
        assert p_best(scores).tolist() == pytest.approx(theirs.tolist(), abs=0.015)  # four standard errors of 20,000

    def test_what_all_share_makes_no_choice_unsure(self) -> None:
        rng = np.random.default_rng(7)
        shared = rng.standard_normal((5, 1)) + 0.01 * rng.standard_normal((5, 3)) + [0.0, 0.0, 0.2]
        assert p_best(shared)[2] > 0.99

    def test_one_that_is_far_above_is_the_best(self) -> None:
        scores = np.random.default_rng(1).normal([0.9, 0.5, 0.5], 0.001, (5, 3))
        assert p_best(scores).tolist() == pytest.approx([1, 0, 0], abs=1e-3)

    def test_without_an_interval_there_is_none(self) -> None:
        scores = np.array([[0.8, 0.9, 0.1, 0.7], [0.7, np.nan, 0.1, 0.9]])
        found = p_best(scores)
        assert np.isnan(found[[1, 2]]).all() and found[[0, 3]].sum() == pytest.approx(1, abs=1e-12)
        assert np.isnan(p_best(scores[:, :2])).all(), "one alone is not compared with any"

    def test_is_right_as_often_as_it_says(self) -> None:
        # True means from a wide prior, five seeds, equal noise: of the claims of 0.8 to 1, as many hold as they say.
        rng = np.random.default_rng(2)
        claimed: list[float] = []
        held: list[bool] = []
        for _ in range(400):
            truth = rng.normal(0, 3, 4)
            found = p_best(truth + rng.standard_normal((5, 4)))
            claimed.extend(found)
            held.extend(np.arange(4) == truth.argmax())
        chance, right = np.array(claimed), np.array(held)
        sure = chance > 0.8
        # About 300 claims: two standard errors of their share are 0.035, and cautious is on the right side.
        assert -0.035 < right[sure].mean() - chance[sure].mean() < 0.1
        assert abs(right[~sure].mean() - chance[~sure].mean()) < 0.03


class TestStandings:
    def scores(self, sign: int = 1) -> pd.DataFrame:
        by: dict[str, list[float | None]] = {
            "adam": [0.81, 0.84, 0.80, 0.83, 0.82],
            "lion": [0.815, 0.845, 0.798, 0.83, 0.825],
            "sgd": [0.70, 0.74, None],
            "agc": [None, None, None],
            "once": [0.9],
        }
        if sign < 0:
            by = {name: [None if x is None else 1 - x for x in of] for name, of in by.items()}
        return rows(by, sign=sign, trivial=0.1 if sign > 0 else 0.9)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_means_intervals_and_letters(self, sign: int) -> None:
        scores = self.scores(sign)
        found = stand(scores, compare(scores, {})).set_index("optimizer")
        assert list(found.index) == ["once", "lion", "adam", "sgd", "agc"]
        assert found.loc["sgd", ["ci_low", "ci_high"]].isna().all(), "two humps"
        low, high = stats.ttest_1samp(scores.loc[scores["optimizer"] == "adam", "score"], 0).confidence_interval(0.95)
        assert found.loc["adam", ["ci_low", "ci_high"]].tolist() == pytest.approx([low, high], abs=1e-10)
        assert found.loc["sgd", ["n", "trials", "failed", "counts"]].tolist() == [3, 3, 1, "seeds"]
        assert found["why"].fillna("").to_dict() == {
            "once": TOO_FEW, "lion": "", "adam": "", "sgd": TWO_HUMPS, "agc": ALL_THE_SAME,
        }  # fmt: skip
        assert found["letters"].to_dict() == {"once": "ab", "lion": "a", "adam": "a", "sgd": "ab", "agc": "b"}
        assert found["undominated"].to_dict() == {
            "once": True, "lion": True, "adam": True, "sgd": True, "agc": False,
        }  # fmt: skip
        assert found["p_best"].notna().to_dict() == {
            "once": False, "lion": True, "adam": True, "sgd": False, "agc": False,
        }  # fmt: skip

    def test_is_asked_of_results(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.81, 0.84, 0.80)
        study.retrain(study.arm("sgd"), 0.9, None)
        study.retrain(study.arm("adam", 32), 0.9)
        found = stats_of.standings(tmp_path)
        assert found["optimizer"].tolist() == ["adam", "adam", "sgd"]
        assert found["mean"].tolist() == pytest.approx([0.9, 2.45 / 3, 0.65], abs=1e-12)
        assert found["letters"].tolist() == ["a", "a", "a"]

    def test_of_nothing_there_is_nothing(self, tmp_path: Path) -> None:
        SmallStudy(tmp_path, "s").arm("adam")
        assert stats_of.standings(tmp_path).empty
