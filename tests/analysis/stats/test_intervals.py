from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from analysis.stats.intervals import ALL_THE_SAME, TOO_FEW, Numbers, bootstrap_interval, t_interval, t_intervals, wilson

EXACT = 1e-10  # stdtrit and t.ppf agree to about 1e-13, sums of numbers near 1 to 1e-15


class TestStudent:
    @pytest.mark.parametrize("values", [[0.8, 0.9], [0.8, 0.9, 0.4], [27.1, 26.9, 27.4, 27.0, 11.5]])
    def test_is_that_of_statsmodels_and_scipy(self, values: list[float]) -> None:
        found = t_interval(values)
        theirs = DescrStatsW(values)
        assert found.estimate == pytest.approx(theirs.mean, abs=EXACT)
        assert (found.low, found.high) == pytest.approx(theirs.tconfint_mean(0.05), abs=EXACT)
        assert (found.n, found.why) == (len(values), None)
        p = t_intervals(np.array(values)[:, None]).p[0]
        assert p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, rel=1e-9)  # two ways to the same tail

    def test_columns_with_gaps_are_each_their_own(self) -> None:
        values = np.array([[0.5, np.nan, 0.7], [0.6, np.nan, 0.8], [0.9, 0.4, np.nan], [0.2, np.nan, np.nan]])
        found = t_intervals(values)
        assert found.n.tolist() == [4, 1, 2]
        assert found.why.tolist() == [None, TOO_FEW, None]
        for column in (0, 2):
            ours = (found.low[column], found.high[column])
            known = values[~np.isnan(values[:, column]), column]
            assert ours == pytest.approx(DescrStatsW(known).tconfint_mean(0.05), abs=EXACT)

    def test_one_value_or_none_has_no_interval(self) -> None:
        one = t_interval([0.5])
        assert (one.estimate, one.low, one.high, one.n, one.why) == (0.5, None, None, 1, TOO_FEW)
        none = t_intervals(np.full((3, 1), np.nan))
        assert np.isnan(none.estimate[0]) and (none.n[0], none.why[0]) == (0, TOO_FEW)
        assert t_intervals(np.empty((0, 2))).why.tolist() == [TOO_FEW, TOO_FEW]

    def test_values_that_are_all_the_same_have_no_interval(self) -> None:
        same = t_interval([0.1 + 0.2] * 3)
        assert (same.low, same.high, same.n, same.why) == (None, None, 3, ALL_THE_SAME)
        assert same.estimate == pytest.approx(0.3, abs=EXACT)
        assert t_interval([0.1 + 0.2, 0.3]).why is None, "they differ in the last bit"

    def test_a_spread_within_the_rounding_of_a_subtraction_is_none(self) -> None:
        differences = np.array([[0.3 - 0.2], [0.2 - 0.1], [0.9 - 0.8]])  # 0.1 but for the last bits
        assert len(set(differences[:, 0])) > 1
        assert t_intervals(differences).why[0] is None
        assert t_intervals(differences, rounding=1e-15).why[0] == ALL_THE_SAME

    @pytest.mark.parametrize("n", [3, 5, 10])
    def test_covers_the_truth_in_95_of_100_studies(self, n: int) -> None:
        scores = np.random.default_rng(n).normal(0.7, 0.02, (n, 2000))
        found = t_intervals(scores)
        covered = ((found.low < 0.7) & (found.high > 0.7)).mean()
        assert 0.93 < covered < 0.97  # four standard errors of a share of 2,000 about 0.95


class TestWilson:
    def test_is_the_closed_form(self) -> None:
        # Wilson 1927 by hand for 2 of 10: centre (0.2 + z^2 / 20) / (1 + z^2 / 10).
        z = stats.norm.ppf(0.975)
        centre, half = 0.2 + z**2 / 20, z * np.sqrt(0.2 * 0.8 / 10 + z**2 / 400)
        expected = ((centre - half) / (1 + z**2 / 10), (centre + half) / (1 + z**2 / 10))
        assert wilson(2, 10) == pytest.approx(expected, abs=EXACT)
        assert wilson(2, 10) == pytest.approx(proportion_confint(2, 10, method="wilson"), abs=EXACT)

    def test_ends_are_shares(self) -> None:
        low, high = wilson(0, 5) or (np.nan, np.nan)
        assert low == pytest.approx(0, abs=EXACT) and 0 < high < 1
        assert wilson(0, 0) is None


def mean_of_blocks(blocks: Sequence[Numbers]) -> Numbers:
    return np.asarray(np.mean([block.mean(axis=-1) for block in blocks], axis=0))


class TestBootstrap:
    def test_is_that_of_scipy_for_one_block(self) -> None:
        values = np.random.default_rng(1).normal(0.7, 0.02, 20)
        theirs = stats.bootstrap(
            (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
        ).confidence_interval
        found = bootstrap_interval([values.tolist()], mean_of_blocks, resamples=20_000)
        # Quantiles of 20,000 resamples are off by about 2 % of the standard error, 0.0045: ten times that.
        assert found == pytest.approx((theirs.low, theirs.high), abs=1e-3)

    def test_runs_stay_in_their_block(self) -> None:
        # Within blocks there is no spread, between them there is.
        assert bootstrap_interval([[0.0] * 10, [1.0] * 10], mean_of_blocks) == (0.5, 0.5)

    @pytest.mark.parametrize("blocks", [[], [[0.1] * 9], [list(range(10)), list(range(9))]])
    def test_there_is_none_below_ten_runs_in_a_block(self, blocks: list[list[float]]) -> None:
        assert bootstrap_interval(blocks, mean_of_blocks) is None

    def test_coverage_is_what_the_documentation_says(self) -> None:
        # 500 studies of ten runs in each of two blocks; benchmarks/coverage.py measured 0.915 over 2,000.
        rng = np.random.default_rng(3)
        covered = 0
        for study in range(500):
            blocks = rng.normal(0.7, 0.02, (2, 10))
            low, high = bootstrap_interval(blocks.tolist(), mean_of_blocks, resamples=400, seed=study) or (1, 0)
            covered += low < 0.7 < high
        assert covered / 500 == pytest.approx(0.915, abs=0.04)  # three standard errors of a share of 500
