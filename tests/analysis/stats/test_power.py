import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import ttest_power

import analysis.stats as stats_of
from analysis.stats.comparisons import BETTER, compare
from analysis.stats.power import detectable, power, seeds_for
from tests.analysis.stats.scores import studies
from tests.helpers.records import SmallStudy


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (3, 0.05), (5, 0.05), (5, 0.01), (10, 0.05)])
def test_power_is_that_of_statsmodels(n: int, alpha: float) -> None:
    for effect in (0.1, 1.0, 1.5):
        assert power(effect, n, alpha) == pytest.approx(ttest_power(effect, n, alpha), abs=1.3e-4)  # 1 / 8000


def test_power_is_right_where_statsmodels_has_none() -> None:
    assert math.isnan(ttest_power(17.3, 3, 0.05 / 135))
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200_000, 3)) + 17.3
    found = np.abs(values.mean(1)) / values.std(1, ddof=1) * math.sqrt(3) > stats.t.isf(0.025 / 135, 2)
    assert power(17.3, 3, 0.05 / 135) == pytest.approx(found.mean(), abs=0.004)  # four standard errors


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (3, 0.05), (5, 0.05 / 135), (10, 0.05 / 1000), (2, 0.05 / 10_000)])
def test_detectable_difference_has_a_power_of_four_in_five(n: int, alpha: float) -> None:
    assert power(detectable(0.02, n, alpha) / 0.02, n, alpha) == pytest.approx(0.8, abs=1e-4)


def test_figures_of_the_tables() -> None:
    # The usual tables for paired differences: 34 pairs for an effect of 0.5, 15 for 0.8.
    assert (seeds_for(1.0, 0.5), seeds_for(1.0, 0.8)) == (34, 15)


def test_seeds_for_a_difference_are_the_fewest() -> None:
    n = int(seeds_for(0.02, 0.01))
    assert power(0.5, n) >= 0.8 > power(0.5, n - 1)
    assert math.isnan(seeds_for(1.0, 1e-4)) and math.isnan(seeds_for(1.0, 0.0)) and math.isnan(seeds_for(1.0, math.nan))


@pytest.mark.slow
def test_a_difference_that_is_detectable_is_found_in_four_of_five_studies() -> None:
    # Two optimizers, five seeds, 2,000 studies through the comparison: within four standard errors of 0.8.
    sd = 0.002 * math.sqrt(2)
    scores = np.random.default_rng(0).normal(0.9, 0.002, (2000, 5, 2)) + [detectable(sd, 5), 0]
    found = compare(studies(scores, margin=None), {})
    assert ((found["outcome"] == BETTER) & (found["optimizer"] == "o0")).mean() == pytest.approx(0.8, abs=0.036)


class TestTable:
    def test_is_of_the_leaders_and_of_the_median_pair_without_failed_trials(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        scores = {"adam": [0.81, 0.84, 0.80], "sgd": [0.79, 0.80, 0.76], "lion": [0.8, 0.85, 0.82]}
        for optimizer, values in scores.items():
            study.retrain(study.arm(optimizer, margin=0.01), *values)
        study.retrain(study.arm("agc", margin=0.01), 0.9, None, 0.95)
        study.retrain(study.arm("adam", 32, margin=0.01), *scores["adam"])
        study.retrain(study.arm("sgd", 32, margin=0.01), *scores["sgd"])
        found = stats_of.detectable_differences(tmp_path)
        four = found[found["weight_bits"] == 4].set_index("pair")
        pairs = [("adam", "sgd"), ("adam", "lion"), ("sgd", "lion")]
        spreads = {pair: np.std(np.subtract(scores[pair[0]], scores[pair[1]]), ddof=1) for pair in pairs}
        leaders, median = four.loc["leader and runner-up"], four.loc["median pair"]
        assert leaders[["optimizer", "other"]].tolist() == ["lion", "adam"], "agc lost a seed, and has no interval"
        assert leaders["sd"] == pytest.approx(spreads["adam", "lion"], rel=1e-9)
        assert leaders["difference"] == pytest.approx(np.mean(scores["lion"]) - np.mean(scores["adam"]), abs=1e-12)
        assert median["sd"] == pytest.approx(sorted(spreads.values())[1], rel=1e-9)
        for row in (leaders, median):
            assert row[["pairs", "n", "alpha", "margin"]].tolist() == [3, 3, 0.05, 0.01]
            assert row["detectable"] == pytest.approx(detectable(row["sd"], 3, 0.05 / 4), rel=1e-9), (
                "4 pairs are tested"
            )
            assert row["detectable_alone"] == pytest.approx(detectable(row["sd"], 3), rel=1e-9)
            assert row["n_for_margin"] == seeds_for(row["sd"], 0.01, 0.05 / 4)
        assert len(found) == 4

    def test_of_one_seed_there_is_nothing(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer in ("adam", "sgd"):
            study.retrain(study.arm(optimizer), 0.8)
        assert stats_of.detectable_differences(tmp_path).empty

    def test_without_a_margin_no_number_of_seeds_reaches_it(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam", margin=None), 0.8, 0.9, 0.85)
        study.retrain(study.arm("sgd", margin=None), 0.7, 0.9, 0.8)
        assert stats_of.detectable_differences(tmp_path)["n_for_margin"].isna().all()
