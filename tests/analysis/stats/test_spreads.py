from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import analysis
import analysis.stats as stats_of
from analysis.stats.intervals import clopper_pearson
from analysis.stats.reml import spread
from analysis.stats.spreads import BOOTSTRAP, EXACT, chance
from tests.helpers.records import SmallStudy

TIGHT = 1e-10  # two implementations of the inverse beta function


@pytest.mark.parametrize(("won", "n"), [(0, 4), (4, 4), (3, 6), (1, 10), (19, 20)])
def test_exact_interval_is_scipys(won: int, n: int) -> None:
    theirs = stats.binomtest(won, n).proportion_ci(method="exact")
    assert clopper_pearson(won, n) == pytest.approx((theirs.low, theirs.high), abs=TIGHT)
    assert clopper_pearson(0, 0) is None


def test_ties_widen_the_exact_interval_and_count_half() -> None:
    found = chance(np.array([1, 1, 0, -1]))
    assert (found["probability"], found["won"], found["tied"], found["n"]) == (0.625, 2, 1, 4)
    low, high = (stats.binomtest(count, 4).proportion_ci(method="exact") for count in (2, 3))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low.low, high.high), abs=TIGHT)


def test_from_twenty_pairs_on_it_is_a_bootstrap_over_pairs() -> None:
    signs = np.array([1] * 15 + [-1] * 5)
    found = chance(signs)
    theirs = stats.bootstrap(((signs + 1) / 2,), np.mean, method="percentile", n_resamples=4000, rng=1)
    assert found["interval"] == BOOTSTRAP
    # Ends lie on a grid of 1 / 20, and a resampled end may be the next point.
    ends = theirs.confidence_interval
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((ends.low, ends.high), abs=0.051)
    assert chance(np.ones(20))["interval"] == EXACT, "every resample of one sign is that sign"


class TestThroughResults:
    def results(self, path: Path) -> Path:
        rng = np.random.default_rng(0)
        study = SmallStudy(path, "s")
        for repeat in range(4):
            for optimizer, lead in (("adam", 0.0), ("sgd", -0.02)):
                arm = study.arm(optimizer, arm_id=f"{optimizer}{repeat}", repeat=repeat)
                study.retrain(arm, *(0.8 + lead + 0.01 * rng.standard_normal(2)))
        return path

    def test_tau_is_of_paired_differences_of_each_seed(self, tmp_path: Path) -> None:
        results = self.results(tmp_path)
        (row,) = stats_of.spread_over_repeats(results).to_dict("records")
        scores = analysis.frame(results, "retrain_scores").pivot(
            index=["repeat", "seed"], columns="optimizer", values="score"
        )
        differences = (scores["adam"] - scores["sgd"]).groupby("repeat").agg(list)
        expected = spread(list(differences))
        assert (row["tau"], row["ci_high"], row["sigma"]) == pytest.approx(
            (expected.tau, expected.ci_high, expected.sigma)
        )
        assert (row["repeats"], row["seeds"]) == (4, 8)

    def test_chances_count_repeats_and_a_failed_run_loses(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.8, 0.9, 0.7)
        study.retrain(study.arm("sgd"), 0.7, None, 0.75)
        (row,) = stats_of.chances(tmp_path).to_dict("records")
        assert [row[name] for name in ("optimizer", "other", "won", "tied", "n", "counts")] == [
            "adam", "sgd", 2, 0, 3, "seeds"
        ]  # fmt: skip
        assert stats_of.chances(self.results(tmp_path / "repeats"))["counts"].tolist() == ["repeats"]

    def test_one_repeat_has_no_tau(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer in ("adam", "sgd"):
            study.retrain(study.arm(optimizer), 0.8, 0.9)
        assert stats_of.spread_over_repeats(tmp_path).empty
