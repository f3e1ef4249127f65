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
from analysis.stats.groups import letters
from analysis.stats.intervals import ALL_THE_SAME, TOO_FEW
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


class TestPBest:
    def test_of_two_is_the_closed_form_of_two_ts_by_simulation(self) -> None:
        a, b = np.array([0.81, 0.84, 0.80]), np.array([0.79, 0.83, 0.78])
        rng = np.random.default_rng(0)
        draws = [x.mean() + x.std(ddof=1) / np.sqrt(3) * rng.standard_t(2, 400_000) for x in (a, b)]
        found = p_best(np.column_stack([a, b]))
        # Four standard errors of a share of 400,000.
        assert found[0] == pytest.approx((draws[0] > draws[1]).mean(), abs=0.003)
        assert found.sum() == pytest.approx(1, abs=0.0005)  # each is off by 1 / 4000 at most

    def test_one_that_is_far_above_is_the_best(self) -> None:
        scores = np.random.default_rng(1).normal([0.9, 0.5, 0.5], 0.001, (5, 3))
        assert p_best(scores).tolist() == pytest.approx([1, 0, 0], abs=1e-3)

    def test_without_an_interval_there_is_none(self) -> None:
        scores = np.array([[0.8, 0.9, 0.1, 0.7], [0.7, np.nan, 0.1, 0.9]])
        found = p_best(scores)
        assert np.isnan(found[[1, 2]]).all() and found[[0, 3]].sum() == pytest.approx(1, abs=0.0005)
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
        low, high = stats.ttest_1samp([0.70, 0.74, 0.1], 0).confidence_interval(0.95)
        assert low < 0 and high > 1
        assert found.loc["sgd", ["ci_low", "ci_high"]].tolist() == [0, 1], "cut to what a fraction can be"
        low, high = stats.ttest_1samp(scores.loc[scores["optimizer"] == "adam", "score"], 0).confidence_interval(0.95)
        assert found.loc["adam", ["ci_low", "ci_high"]].tolist() == pytest.approx([low, high], abs=1e-10)
        assert found.loc["sgd", ["n", "trials", "failed", "counts"]].tolist() == [3, 3, 1, "seeds"]
        assert found["why"].fillna("").to_dict() == {
            "once": TOO_FEW, "lion": "", "adam": "", "sgd": "", "agc": ALL_THE_SAME,
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
