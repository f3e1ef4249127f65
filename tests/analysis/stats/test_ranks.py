import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from analysis.stats.ranks import block_ranks, mean_ranks, pairwise_p_values, rank_comparisons, rank_test, tied_ranks
from tests.analysis.stats.told import Told, retrain

EXACT = 1e-12  # a few double-precision operations on numbers near 1


def study(scores: dict[str, dict[str, list[float]]], **values: Any) -> pd.DataFrame:
    """Retrain scores by workload and optimizer."""
    return pd.concat(
        [
            retrain(seeds, workload=workload, optimizer=optimizer, **values)
            for workload, board in scores.items()
            for optimizer, seeds in board.items()
        ]
    )


def many_blocks(generator: np.random.Generator, blocks: int, lead: float = 0.0) -> pd.DataFrame:
    """Five optimizers that are alike, but for a lead of `a`, in units of the scatter."""
    return study(
        {
            f"w{block}": {name: [float(generator.normal()) + lead * (name == "a")] for name in "abcde"}
            for block in range(blocks)
        }
    )


def ranked(scores: pd.DataFrame) -> pd.DataFrame:
    """The ranks of the only family."""
    (found,) = block_ranks(scores).values()
    return found


class TestTiedRanks:
    def test_without_a_margin_they_are_mean_ranks(self) -> None:
        means = np.random.default_rng(9).integers(0, 5, (20, 6)).astype(float)
        expected = stats.rankdata(-means, axis=1)
        assert tied_ranks(means, np.zeros(20)) == pytest.approx(expected, abs=EXACT)

    def test_two_within_the_margin_share_their_places_and_the_sum_stays(self) -> None:
        found = tied_ranks(np.array([[0.9, 0.895, 0.888, 0.5]]), np.array([0.01]))
        # The second is tied with the first and the third, which are apart.
        assert found.tolist() == [[1.5, 2.0, 2.5, 4.0]]
        assert found.sum() == 10


class TestBlockRanks:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_by_the_mean_over_seeds_with_ties_shared(self, sign: int) -> None:
        board = {"adam": [0.8, 0.9], "sgd": [0.85, 0.85], "lion": [0.1, 0.95]}
        if sign < 0:
            board = {name: [1 - seed for seed in seeds] for name, seeds in board.items()}
        # Means of 0.85, 0.85 and 0.525: a diverged seed is in the mean.
        assert ranked(study({"w": board}, sign=sign)).iloc[0].to_dict() == {"adam": 1.5, "sgd": 1.5, "lion": 3.0}

    def test_optimizers_that_a_block_lacks_are_not_ranked(self) -> None:
        scores = study({"v": {"adam": [0.9], "sgd": [0.8], "lion": [0.7]}, "w": {"sgd": [0.9], "lion": [0.8]}})
        found = ranked(scores)
        assert found.columns.tolist() == ["lion", "sgd"] and len(found) == 2

    def test_board_of_one_optimizer_and_joint_mode_rank_nothing(self) -> None:
        scores = pd.concat(
            [
                study({"v": {"adam": [0.9], "sgd": [0.8]}, "w": {"lion": [0.9]}}),
                study({"x": {"muon": [0.9], "soap": [0.8]}}, mode="joint"),
            ]
        )
        assert ranked(scores).columns.tolist() == ["adam", "sgd"]
        assert not block_ranks(study({"w": {"lion": [0.9]}}))

    def test_block_of_two_studies_counts_once(self) -> None:
        one = {"adam": [0.9], "sgd": [0.8], "lion": [0.7]}
        other = {"adam": [0.6], "sgd": [0.9], "lion": [0.1]}
        scores = pd.concat([study({"w": one}, study_id="one"), study({"w": other}, study_id="two")])
        # Ranks of 1, 2, 3 and of 2, 1, 3: means of 1.5, 1.5 and 3.
        assert ranked(scores).values.tolist() == [[1.5, 3.0, 1.5]]

    def test_methods_bits_and_starts_are_ranked_apart_and_are_no_blocks_of_one_another(self) -> None:
        board = {"w": {"adam": [0.9], "sgd": [0.8]}}
        parts = [study(board), study(board, method="pact"), study(board, weight_bits=2), study(board, init="scratch")]
        found = block_ranks(pd.concat(parts))
        assert len(found) == 4 and all(len(ranks) == 1 for ranks in found.values())


class TestRankTest:
    def test_is_friedmans(self) -> None:
        ranks = stats.rankdata(np.random.default_rng(0).random((8, 5)), axis=1)
        found = rank_test(ranks)
        # 12 N / (k (k + 1)) (sum of squared mean ranks - k (k + 1)^2 / 4), Demsar's equation.
        statistic = 12 * 8 / 30 * ((ranks.mean(axis=0) ** 2).sum() - 5 * 36 / 4)
        assert found.statistic == pytest.approx(statistic, abs=1e-9)
        assert found.p_value == pytest.approx(stats.chi2.sf(statistic, 4), abs=1e-9)

    @pytest.mark.parametrize(("optimizers", "blocks", "expected"), [(10, 12, 3.91), (5, 8, 2.16), (4, 14, 1.25)])
    def test_critical_difference_of_nemenyi(self, optimizers: int, blocks: int, expected: float) -> None:
        # Demsar's table of q: 3.164 for 10 classifiers, 2.728 for 5, and his example of 4 on 14 data sets.
        ranks = stats.rankdata(np.random.default_rng(1).random((blocks, optimizers)), axis=1)
        assert rank_test(ranks).critical_difference == pytest.approx(expected, abs=0.005)

    def test_two_blocks_of_ten_optimizers_could_never_differ(self) -> None:
        found = rank_test(stats.rankdata(np.random.default_rng(2).random((2, 10)), axis=1))
        assert math.isnan(found.critical_difference) and math.isnan(found.p_value)
        assert "differ by 9.58, and can differ by 9" in found.reason

    def test_two_optimizers_have_no_test(self) -> None:
        assert rank_test(np.tile([1.0, 2.0], (8, 1))).reason.startswith("2 optimizers")

    def test_all_tied_are_not_apart(self) -> None:
        assert rank_test(np.full((6, 3), 2.0)).p_value == 1.0


class TestPairs:
    def test_are_conovers_with_holms_correction(self) -> None:
        ranks = pd.DataFrame(stats.rankdata(np.random.default_rng(3).random((7, 4)), axis=1), columns=list("abcd"))
        n, k = ranks.shape
        sums, squares = ranks.sum().to_numpy(), (ranks.to_numpy() ** 2).sum()
        # Conover 1999, section 5.8: |R_i - R_j| over sqrt(2 (N sum r^2 - sum R_j^2) / ((N - 1) (k - 1))).
        error = math.sqrt(2 * (n * squares - (sums**2).sum()) / ((n - 1) * (k - 1)))
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        raw = np.array([2 * stats.t.sf(abs(sums[i] - sums[j]) / error, (n - 1) * (k - 1)) for i, j in pairs])
        order = raw.argsort()
        holm = np.minimum(np.maximum.accumulate(raw[order] * (len(raw) - np.arange(len(raw)))), 1)
        found = pairwise_p_values(ranks)
        assert [found.iloc[pairs[i]] for i in order] == pytest.approx(holm, abs=1e-9)

    def test_same_order_in_every_block_is_certain_and_all_tied_is_not(self) -> None:
        assert pairwise_p_values(pd.DataFrame(np.tile([1.0, 2.0, 3.0], (6, 1)))).iloc[0, 1] == 0.0
        assert pairwise_p_values(pd.DataFrame(np.full((6, 3), 2.0))).iloc[0, 1] == 1.0

    @pytest.mark.slow
    def test_optimizers_that_are_alike_are_told_apart_in_one_study_of_twenty_at_most(self) -> None:
        generator = np.random.default_rng(4)
        wrong = 0
        for _ in range(300):
            ranks = pd.DataFrame(stats.rankdata(generator.random((8, 5)), axis=1))
            significant = rank_test(ranks.to_numpy()).p_value < 0.05
            wrong += significant and bool((pairwise_p_values(ranks).to_numpy() < 0.05).any())
        assert wrong <= 26  # 5 % of 300 and three standard errors

    def test_a_lead_in_every_block_is_seen(self) -> None:
        found = rank_comparisons(Told(retrain_scores=many_blocks(np.random.default_rng(5), 10, lead=6.0)))
        first = found[found["a"] == "a"]
        assert len(first) == 4 and first["apart"].all() and (first["difference"] < 0).all()
        assert len(found) == 10

    def test_too_few_blocks_have_no_rows(self) -> None:
        assert not len(rank_comparisons(Told(retrain_scores=many_blocks(np.random.default_rng(6), 5))))


class TestMeanRanks:
    def test_table_with_a_test(self) -> None:
        scores = many_blocks(np.random.default_rng(7), 9, lead=6.0)
        found = mean_ranks(Told(retrain_scores=scores))
        wide = scores.pivot(index="workload", columns="optimizer", values="score")
        expected = stats.friedmanchisquare(*wide.to_numpy().T)
        assert found.loc[0, ["optimizer", "mean_rank", "blocks", "optimizers", "reason"]].tolist() == ["a", 1, 9, 5, ""]
        assert found["p_value"].unique().tolist() == pytest.approx([expected.pvalue], abs=EXACT)
        nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(wide.to_numpy())
        ranks = (-wide).rank(axis=1).mean().to_numpy()
        # A difference is critical where Nemenyi's p is below 5 %.
        apart = abs(ranks[:, None] - ranks) > found["critical_difference"][0]
        assert (apart == (nemenyi.to_numpy() < 0.05)).all()

    def test_few_blocks_have_ranks_and_a_sentence(self) -> None:
        found = mean_ranks(Told(retrain_scores=many_blocks(np.random.default_rng(8), 2)))
        assert found["mean_rank"].notna().all() and found["p_value"].isna().all()
        assert found["reason"][0].startswith("2 workloads, and a test of ranks needs 6")

    def test_no_retrain_makes_an_empty_table(self) -> None:
        found = mean_ranks(Told(retrain_scores=retrain([])))
        assert not len(found) and {"optimizer", "mean_rank", "reason"} <= set(found)
