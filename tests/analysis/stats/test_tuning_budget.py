import itertools
import math

import numpy as np
import pandas as pd
import pytest
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

from analysis.stats.shared_draws import common_chances, prefixes
from analysis.stats.tuning_budget import (
    chances_of_best,
    expected_best,
    median_band,
    probability_of_best,
    tunability,
    tuning_curve,
    tuning_curves,
)
from tests.analysis.stats.told import Told, tuning

EXACT = 1e-12  # a few double-precision operations on numbers near 1
OPEN = (-math.inf, math.inf)


class TestExpectedBest:
    def test_of_an_even_grid_is_near_that_of_the_uniform_distribution(self) -> None:
        n, ks = 2000, np.array([1, 2, 5, 10])
        grid = (np.arange(n) + 0.5) / n
        # k / (k + 1) is the mean of the best of k uniform scores; the grid is within 1 / 2n of them.
        assert expected_best(grid, ks) == pytest.approx(ks / (ks + 1), abs=1 / (2 * n))

    def test_is_the_mean_over_all_draws_with_replacement(self) -> None:
        scores = [0.2, 0.9, 0.1, 0.1]
        for sign, best in ((1, max), (-1, min)):
            expected = [np.mean([best(draw) for draw in itertools.product(scores, repeat=k)]) for k in (1, 2, 3, 4)]
            curve = tuning_curve(np.array(scores), sign, OPEN)["expected_best"]
            assert curve.tolist() == pytest.approx(expected, abs=EXACT)


class TestBand:
    # Methodology: with 24, 32 and 64 trials a band is informative up to k = 3, 4 and 7 with highest-density intervals;
    # equal-tailed ones are a fifth of the cost, and reach one trial less.
    @pytest.mark.parametrize(("n", "largest"), [(8, 1), (24, 2), (32, 3), (64, 6)])
    def test_largest_budget_that_may_be_read(self, n: int, largest: int) -> None:
        scores = np.random.default_rng(0).random(n)
        informative = tuning_curve(scores, 1, (0.0, 1.0))["informative"]
        assert informative.tolist() == [True] * largest + [False] * (n - largest)

    @pytest.mark.parametrize("ties", [False, True])
    def test_covers_the_whole_curve_at_least_as_often_as_it_says(self, ties: bool) -> None:
        generator = np.random.default_rng(1)
        ks = np.arange(1, 17)
        truth = 0.5 ** (1 / ks)  # median of the best of k uniform scores
        held = []
        for _ in range(500):
            scores = generator.random(16)
            if ties:  # four in ten are one value, as trials are that diverged
                scores, truth = np.maximum(scores, 0.4), np.maximum(0.5 ** (1 / ks), 0.4)
            _, low, high = median_band(scores, ks, *OPEN)
            held.append(bool(((low <= truth) & (truth <= high)).all()))
        assert np.mean(held) >= 0.93  # 95 % less two standard errors of 500 studies

    @pytest.mark.parametrize("n", [10, 100])  # simulated, and of Kolmogorov and Smirnov
    def test_minimised_curve_is_the_mirror_of_the_maximised_one(self, n: int) -> None:
        scores = np.random.default_rng(2).normal(size=n)
        up, down = tuning_curve(scores, 1, OPEN), tuning_curve(-scores, -1, OPEN)
        for column, mirror in (("expected_best",) * 2, ("median_best",) * 2, ("ci_low", "ci_high")):
            np.testing.assert_allclose(up[column], -down[mirror], rtol=EXACT)
        assert up["informative"].tolist() == down["informative"].tolist()

    def test_is_the_one_of_the_library(self) -> None:
        scores, ks = np.random.default_rng(3).random(12), np.arange(1, 13)
        lower, _, upper = EmpiricalDistribution.confidence_bands(
            scores, 0.95, 0.0, 1.0, generator=np.random.default_rng(0), method="ld_equal_tailed", n_jobs=1
        )
        _, low, high = median_band(scores, ks, 0.0, 1.0)
        np.testing.assert_array_equal(low, upper.quantile_tuning_curve(ks))
        np.testing.assert_array_equal(high, lower.quantile_tuning_curve(ks))

    def test_does_not_depend_on_what_was_asked_before(self) -> None:
        scores = np.random.default_rng(4).random(9)
        first = tuning_curve(scores, 1, OPEN)
        tuning_curve(np.random.default_rng(5).random(11), 1, OPEN)
        pd.testing.assert_frame_equal(first, tuning_curve(scores, 1, OPEN))


class TestTuningCurves:
    def test_rows_are_random_trials_of_comparison_mode_alone(self) -> None:
        scores = pd.concat(
            [
                tuning([0.5, 0.7, 0.1]),
                tuning([0.9], "default"),
                tuning([0.95, None], "search"),
                tuning([0.3, 0.4], mode="joint"),
                tuning([20.0, 25.0], workload="sr", unit="dB", metric="psnr"),
                tuning([0.3, 0.2], optimizer="sgd", study_id="other", sign=-1, metric="error"),
            ]
        )
        found = tuning_curves(Told(tuning_scores=scores))
        assert found.groupby(["study_id", "workload", "optimizer"])["k"].agg(list).to_dict() == {
            ("s", "m-d", "adam"): [1, 2, 3],
            ("s", "sr", "adam"): [1, 2],
            ("other", "m-d", "sgd"): [1, 2],
        }
        first = found.groupby("workload")["expected_best"].first()
        assert first["sr"] == pytest.approx(22.5, abs=1e-9)  # mean of two
        minimised = found[found["study_id"] == "other"]["expected_best"]
        assert minimised.tolist() == pytest.approx([0.25, 0.225], abs=EXACT)  # (0.3 + 3 x 0.2) / 4
        assert found[found["workload"] == "sr"]["ci_high"].isna().all()  # two trials say nothing of the best

    def test_only_diverged_trials_make_a_flat_curve(self) -> None:
        found = tuning_curves(Told(tuning_scores=tuning([0.1] * 5)))
        assert found["expected_best"].tolist() == pytest.approx([0.1] * 5, abs=EXACT)

    def test_nothing_random_makes_an_empty_table_with_its_columns(self) -> None:
        found = tuning_curves(Told(tuning_scores=tuning([0.5], "search")))
        assert not len(found) and {"k", "expected_best", "informative"} <= set(found)

    def test_score_outside_its_unit_has_no_bounds(self) -> None:
        # Imported under a unit that it does not keep to.
        assert len(tuning_curves(Told(tuning_scores=tuning([50.0, 99.0])))) == 2


def test_tunability_weighs_budgets_that_all_optimizers_have() -> None:
    scores = pd.concat([tuning([0.2, 0.6]), tuning([0.4, 0.4, 0.8, 0.9], optimizer="sgd")])
    found = tunability(Told(tuning_scores=scores)).set_index("optimizer")
    # adam: S(1) = 0.4, S(2) = (0.2 + 3 x 0.6) / 4 = 0.5; sgd: S(1) = 0.625,
    # S(2) = (0.4 x 4 + 0.8 x 5 + 0.9 x 7) / 16 = 0.74375.
    for name, first, second in (("adam", 0.4, 0.5), ("sgd", 0.625, 0.74375)):
        expected = [2, (2 * first + second) / 3, (first + second) / 2, second]
        assert found.loc[name, ["K", "early", "mean", "peak"]].tolist() == pytest.approx(expected, abs=EXACT)
    assert found["n"].to_dict() == {"adam": 2, "sgd": 4}


class TestProbabilityOfBest:
    def test_is_the_share_of_all_draws_with_ties_shared(self) -> None:
        arms = [[0.1, 0.5, 0.9, 0.1], [0.5, 0.6, 0.2], [0.5, 0.1, 0.6]]
        won = np.zeros(3)
        for draw in itertools.product(*(itertools.combinations(arm, 2) for arm in arms)):
            bests = np.array([max(part) for part in draw])
            won += (bests == bests.max()) / (bests == bests.max()).sum()
        assert chances_of_best([np.array(arm) for arm in arms], 2) == pytest.approx(won / won.sum(), abs=EXACT)

    def test_ten_arms_that_are_all_alike_share_it(self) -> None:
        assert chances_of_best([np.array([0.1, 0.2, 0.2])] * 10, 2) == pytest.approx([0.1] * 10, abs=EXACT)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_table_goes_by_powers_of_two_up_to_half_of_the_trials(self, sign: int) -> None:
        better = 0.9 if sign > 0 else 0.05
        scores = pd.concat(
            [tuning([better] * 9, sign=sign), tuning([0.5] * 8, optimizer="sgd", sign=sign), tuning([0.5], method="m")]
        )
        found = probability_of_best(Told(tuning_scores=scores))
        assert found["k"].tolist() == [1, 1, 2, 2, 4, 4]
        assert found[found["optimizer"] == "adam"]["probability"].tolist() == pytest.approx([1.0] * 3, abs=EXACT)
        assert set(found["method"]) == {"lsq"}  # one optimizer has no rival

    def test_one_trial_each_says_nothing(self) -> None:
        scores = pd.concat([tuning([0.9]), tuning([0.5], optimizer="sgd")])
        assert not len(probability_of_best(Told(tuning_scores=scores)))


class TestOneDesignForAll:
    """Records of earlier versions: trial number i lies at the same place of every arm's ranges."""

    def scores(self, seeds: tuple[int, int]) -> pd.DataFrame:
        # Good and bad places are the same, and sgd is a little better at each.
        adam = [0.1, 0.5, 0.9, 0.2, 0.6, 0.3, 0.8, 0.7]
        return pd.concat(
            [
                tuning(adam, sampler_seed=seeds[0]),
                tuning([score + 0.01 for score in adam], optimizer="sgd", sampler_seed=seeds[1]),
            ]
        )

    def test_the_same_trials_are_drawn_for_all(self) -> None:
        found = probability_of_best(Told(tuning_scores=self.scores((7, 7))))
        assert set(found["drawn"]) == {"the same trials"}
        assert found.groupby("optimizer")["probability"].unique().map(list).to_dict() == {"adam": [0.0], "sgd": [1.0]}

    def test_designs_of_their_own_are_drawn_independently(self) -> None:
        found = probability_of_best(Told(tuning_scores=self.scores((7, 8))))
        assert set(found["drawn"]) == {"independently"}
        assert (found["probability"] < 0.7).all(), "luck of the draw decides between two that are nearly equal"

    def test_is_the_share_of_all_common_draws(self) -> None:
        rng = np.random.default_rng(11)
        values = rng.random((7, 3))
        trials = pd.concat(
            [
                pd.DataFrame({"optimizer": f"o{i}", "repeat": 0, "trial_number": range(7), "objective": values[:, i]})
                for i in range(3)
            ]
        )
        draws = [values[list(draw)].max(axis=0).argmax() for draw in itertools.combinations(range(7), 3)]
        expected = np.bincount(draws, minlength=3) / len(draws)
        # Four standard errors of a share of 5,000.
        assert common_chances(trials, 3).tolist() == pytest.approx(expected.tolist(), abs=0.029)

    def test_a_number_that_an_optimizer_has_twice_is_no_place_of_the_design(self) -> None:
        """A study of an earlier version that was widened: the mean of two trials is no trial."""
        values = np.random.default_rng(3).random((8, 2))
        known = {"repeat": 0, "trial_number": range(8)}
        trials = pd.concat([pd.DataFrame({"optimizer": f"o{i}", **known, "objective": values[:, i]}) for i in (0, 1)])
        again = trials[trials["optimizer"] == "o0"].head(3).assign(objective=5.0)
        left = trials[trials["trial_number"] >= 3]
        pd.testing.assert_series_equal(common_chances(pd.concat([trials, again]), 2), common_chances(left, 2))


class TestSobol:
    """Points of a sequence: the first k of each repeat, and no band that takes them for independent draws."""

    def scores(self, sign: int = 1) -> pd.DataFrame:
        repeats = ([0.5, 0.7, 0.6], [0.2, 0.3, 0.9], [0.4, 0.4, 0.5])
        frames = [
            tuning([score if sign > 0 else 1 - score for score in scores], repeat=repeat, design="sobol", sign=sign)
            for repeat, scores in enumerate(repeats)
        ]
        return pd.concat(frames)

    def test_the_order_of_files_does_not_decide_which_points_are_first(self) -> None:
        """Also where two have one number, as a widened study of an earlier version may."""
        scores = self.scores().assign(trial_number=[0, 0, 1] * 3)
        keyed = scores.assign(objective=scores["score"], trial_key=[f"{i}" for i in range(len(scores))])
        found = [prefixes(keyed.iloc[order], 1) for order in (range(9), range(8, -1, -1))]
        pd.testing.assert_frame_equal(*found)
        assert found[0]["adam"].tolist() == [0.5, 0.2, 0.4]

    @pytest.mark.parametrize("sign", [1, -1])
    def test_curve_is_over_repeats(self, sign: int) -> None:
        found = tuning_curves(Told(tuning_scores=self.scores(sign)))
        bests = np.array([[0.5, 0.7, 0.7], [0.2, 0.3, 0.9], [0.4, 0.4, 0.5]])
        bests = bests if sign > 0 else 1 - bests
        intervals = [stats.ttest_1samp(best, 0).confidence_interval(0.95) for best in bests.T]
        assert found["expected_best"].tolist() == pytest.approx(bests.mean(axis=0).tolist(), abs=EXACT)
        assert found["median_best"].tolist() == pytest.approx(np.median(bests, axis=0).tolist(), abs=EXACT)
        assert found["ci_low"].tolist() == pytest.approx([interval.low for interval in intervals], abs=1e-9)
        assert found["k"].tolist() == [1, 2, 3] and set(found["n"]) == {3} and found["informative"].all()
        assert set(found["band"]) == {"of the mean over repeats, each k"}

    def test_tunability_and_chances_take_the_first_points(self) -> None:
        other = pd.concat(
            [tuning([0.6, 0.6, 0.6], optimizer="sgd", repeat=repeat, design="sobol") for repeat in range(3)]
        )
        told = Told(tuning_scores=pd.concat([self.scores(), other]))
        found = tunability(told).set_index("optimizer")
        assert found.loc["adam", ["K", "peak"]].tolist() == pytest.approx([3, (0.7 + 0.9 + 0.5) / 3], abs=EXACT)
        chances = probability_of_best(told)
        assert chances[["k", "optimizer", "probability"]].values.tolist() == [[1, "adam", 0.0], [1, "sgd", 1.0]]

    def test_one_repeat_has_no_interval(self) -> None:
        found = tuning_curves(Told(tuning_scores=tuning([0.5, 0.7], design="sobol")))
        assert found["ci_low"].isna().all() and not found["informative"].any()
