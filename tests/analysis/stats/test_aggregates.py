import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.aggregates import (
    improvements,
    interquartile_means,
    iqms,
    probabilities_of_improvement,
    time_to_target_scores,
    with_interval,
)
from tests.analysis.stats.told import Told, board, retrain

EXACT = 1e-12  # a few double-precision operations on numbers near 1
CONTROL: dict[str, Any] = {"method": "none", "weight_bits": 32, "activation_bits": 32}


class TestIqm:
    def test_is_the_mean_of_the_middle_half(self) -> None:
        # Of eight values two are cut off at either end, of nine two as well.
        assert iqms([np.array([[100.0, 1, 2, 3]]), np.array([[4.0, 5, 6, -50]])]) == pytest.approx((2 + 3 + 4 + 5) / 4)
        assert iqms([np.arange(9.0)[None, :]]) == pytest.approx(np.mean([2, 3, 4, 5, 6]))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_scores_are_put_between_the_trivial_score_and_the_best_floating_point_arm(self, sign: int) -> None:
        def of(values: list[float]) -> list[float]:
            return values if sign > 0 else [1 - value for value in values]

        said: dict[str, Any] = {"sign": sign, "trivial": 0.1 if sign > 0 else 0.9}
        scores = pd.concat(
            [
                retrain(of([0.8, 1.0]), **CONTROL, **said),  # a mean of 0.9, the top
                retrain(of([0.5, 0.6]), optimizer="sgd", **CONTROL, **said),
                retrain(of([0.5, 0.1, 0.9, 0.7]), **said),  # the second diverged: it is trivial
                retrain(of([0.5]), study_id="other", **said),  # no control in its study
                retrain(of([0.3]), method="joint", mode="joint", **said),
            ]
        )
        found = interquartile_means(Told(retrain_scores=scores)).set_index(["weight_bits", "optimizer"])
        # (x - 0.1) / 0.8: 0.5, 0, 1 and 0.75, of which 0.5 and 0.75 are the middle half.
        assert found.loc[(4, "adam"), "iqm"] == pytest.approx(0.625, abs=EXACT)
        assert found.loc[(4, "adam"), ["workloads", "n"]].tolist() == [1, 4]
        assert found.loc[(32, "sgd"), "iqm"] == pytest.approx(0.5625, abs=EXACT)
        assert len(found) == 3 and found["reason"].str.startswith("a workload has fewer than 10 runs").all()
        assert found[["ci_low", "ci_high"]].isna().all(axis=None)

    def test_without_a_floating_point_arm_there_is_none(self) -> None:
        row = interquartile_means(Told(retrain_scores=retrain([0.5, 0.6]))).iloc[0]
        assert math.isnan(row["iqm"]) and row["workloads"] == 0 and row["reason"].startswith("no 32/32 arm")

    def test_ten_runs_have_an_interval_that_is_the_percentile_bootstrap_of_scipy(self) -> None:
        generator = np.random.default_rng(0)
        frames = [retrain([0.9], workload=name, **CONTROL) for name in ("v", "w")]
        runs = {name: generator.normal(0.5, 0.1, 12) for name in ("v", "w")}
        frames += [retrain(list(values), workload=name) for name, values in runs.items()]
        found = interquartile_means(Told(retrain_scores=pd.concat(frames)))
        row = found[found["weight_bits"] == 4].iloc[0]
        blocks = [(values - 0.1) / 0.8 for values in runs.values()]
        oracle = stats.bootstrap(
            blocks,
            lambda *drawn, axis: stats.trim_mean(np.concatenate(drawn, axis=axis), 0.25, axis=axis),
            method="percentile",
            n_resamples=4000,
            rng=1,
            vectorized=True,
        ).confidence_interval
        # Ends of 2,000 and of 4,000 resamples of a statistic that scatters by 0.03.
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((oracle.low, oracle.high), abs=0.008)
        assert row["reason"] == ""


class TestImprovement:
    def test_is_mann_and_whitneys_u_over_all_pairs_with_ties_as_half(self) -> None:
        generator = np.random.default_rng(1)
        pairs = [generator.integers(0, 5, n).astype(float) for n in (6, 7, 4, 9)]
        expected = [stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in (pairs[:2], pairs[2:])]
        assert improvements([runs[None, :] for runs in pairs]) == pytest.approx(np.mean(expected), abs=EXACT)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_table_is_over_the_workloads_that_both_were_run_on(self, sign: int) -> None:
        scores = pd.concat(
            [
                retrain([0.5, 0.7], workload="v", sign=sign),
                retrain([0.6, 0.6], workload="v", optimizer="sgd", sign=sign),
                retrain([0.9, 0.9], workload="w", sign=sign),
                retrain([0.8, 0.9], workload="w", optimizer="sgd", sign=sign),
                retrain([0.9, 0.9], workload="x", sign=sign),
            ]
        )
        found = probabilities_of_improvement(Told(retrain_scores=scores))
        assert found[["a", "b", "workloads"]].values.tolist() == [["adam", "sgd", 2]]
        expected = (0.5 + 0.75) / 2  # v: two of four; w: two, and two ties
        assert found["probability"][0] == pytest.approx(expected if sign > 0 else 1 - expected, abs=EXACT)
        assert math.isnan(found["ci_low"][0]) and found["reason"][0].startswith("a workload has fewer")

    def test_runs_that_never_overlap_have_no_interval_as_resamples_cannot_overlap_either(self) -> None:
        scores = pd.concat([retrain([0.9 + i / 1000 for i in range(10)]), retrain([0.5] * 10, optimizer="sgd")])
        row = probabilities_of_improvement(Told(retrain_scores=scores)).iloc[0]
        assert row["probability"] == 1.0 and math.isnan(row["ci_low"]) and row["reason"].startswith("every resample")

    def test_interval_covers_a_known_chance(self) -> None:
        generator = np.random.default_rng(2)
        truth = stats.norm.cdf(0.5 / math.sqrt(2))  # P(A > B) of two normals half a deviation apart
        covered = 0
        for _ in range(60):
            blocks = [generator.normal(lead, 1.0, 10) for lead in (0.5, 0.0, 0.5, 0.0)]
            _, low, high, _ = with_interval(blocks, improvements)
            covered += low <= truth <= high
        assert covered >= 51  # 95 in 100 at ten runs (benchmarks/tuning_coverage.py); three standard errors


def test_algoperf_score_by_hand() -> None:
    # Ratios of 1, 2 and never: scores of 1, 2/3 and 0; on another board 1, 4 and 2.5: 1, 0 and 1/2.
    rows = [
        board(optimizer=optimizer, workload=workload, score=score)
        for workload, scores in {"v": [1, 2 / 3, 0], "w": [0, 1, 0.5]}.items()
        for optimizer, score in zip(("adam", "sgd", "lion"), scores, strict=True)
    ]
    rows.append(board(optimizer="muon", workload="v", score=1.0))
    found = time_to_target_scores(Told(time_to_target=pd.DataFrame(rows).assign(copied=False)))
    assert found["optimizer"].tolist() == ["sgd", "adam", "lion"]  # muon was not run on w
    assert found["score"].tolist() == pytest.approx([5 / 6, 0.5, 0.25], abs=EXACT)
    assert found["boards"].tolist() == [2, 2, 2]


def test_no_retrain_makes_empty_tables() -> None:
    told = Told(retrain_scores=retrain([]), time_to_target=pd.DataFrame([board(score=1.0, copied=False)])[:0])
    for table in (interquartile_means, probabilities_of_improvement, time_to_target_scores):
        assert not len(table(told))


class TestTrialsThatAnotherStudyHasRun:
    """Two studies of one folder: runs that the second has taken over from the first count once."""

    RUNS: dict[str, Any] = {"adam": [0.5, 0.6, 0.7], "sgd": [0.4, 0.5, 0.6]}

    def studies(self, *, copied: bool) -> pd.DataFrame:
        of_first = [retrain(runs, study_id="first", optimizer=name) for name, runs in self.RUNS.items()]
        of_second = [
            retrain(runs, study_id="second", optimizer=name, copied=copied) for name, runs in self.RUNS.items()
        ]
        control = [retrain([0.9], study_id=name, **CONTROL) for name in ("first", "second")]
        return pd.concat([*of_first, *of_second, *control])

    def test_in_interquartile_means(self) -> None:
        found = {
            copied: interquartile_means(Told(retrain_scores=self.studies(copied=copied))).set_index("optimizer")
            for copied in (False, True)
        }
        assert [found[copied].loc["sgd", ["workloads", "n"]].tolist() for copied in (False, True)] == [[2, 6], [1, 3]]

    def test_in_probabilities_of_improvement_but_beside_what_is_new(self) -> None:
        own = retrain([0.8], study_id="second", optimizer="lion")
        scores = pd.concat([self.studies(copied=True), own])
        found = probabilities_of_improvement(Told(retrain_scores=scores)).set_index(["a", "b"])
        assert found["workloads"].to_dict() == {("adam", "lion"): 1, ("adam", "sgd"): 1, ("lion", "sgd"): 1}

    def test_in_scores_of_time_to_target(self) -> None:
        rows = [
            board(study_id=name, score=score, copied=name == "second")
            for name, score in (("first", 1.0), ("second", 0.5))
        ]
        found = time_to_target_scores(Told(time_to_target=pd.DataFrame(rows)))
        assert found[["boards", "score"]].values.tolist() == [[1, 1.0]]
