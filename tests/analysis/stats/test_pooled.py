import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis.stats as stats_of
from analysis.stats.intervals import TWO_HUMPS
from analysis.stats.pooled import Pooled, equivalence, pool
from tests.analysis.stats.scores import rows
from tests.analysis.stats.told import Told

TIGHT = 1e-9  # two implementations of Student's quantile
RNG = np.random.default_rng(3)
X, Y = RNG.normal(1.0, 1.0, 5), RNG.normal(0.5, 2.0, 4)


def asked(scores: pd.DataFrame, **fixed: Any) -> Told:
    names = scores["study_id"].unique()
    start = pd.DataFrame({"study_id": names, "whole": names, "alpha": 0.05, "reference": None, **fixed})
    return Told(retrain_scores=scores, start=start)


class TestPool:
    def test_of_one_board_is_the_t_interval(self) -> None:
        found, theirs = pool({"w": [X]}), stats.ttest_1samp(X, 0).confidence_interval(0.95)
        assert (found.ci_low, found.ci_high, found.df) == pytest.approx((theirs.low, theirs.high, 4), abs=TIGHT)

    def test_of_two_workloads_is_half_of_welchs_interval_of_their_sum(self) -> None:
        found, theirs = pool({"v": [X], "w": [Y]}), stats.ttest_ind(X, -Y, equal_var=False)
        interval = theirs.confidence_interval(0.95)
        assert (2 * found.ci_low, 2 * found.ci_high) == pytest.approx((interval.low, interval.high), abs=TIGHT)
        assert found.df == pytest.approx(theirs.df, abs=TIGHT)

    def test_boards_of_one_workload_pair_by_repeat(self) -> None:
        other = np.array([*Y, np.nan])
        found, theirs = pool({"w": [X, other]}), stats.ttest_1samp((X[:4] + Y) / 2, 0).confidence_interval(0.95)
        assert (found.ci_low, found.ci_high) == pytest.approx((theirs.low, theirs.high), abs=TIGHT)

    def test_every_board_counts_alike(self) -> None:
        assert pool({"v": [X, X + 1], "w": [Y]}).difference == pytest.approx((2 * X.mean() + 1 + Y.mean()) / 3)

    def test_interval_covers_a_known_mean(self) -> None:
        # Two boards of one workload that share half of what a repeat draws, one of another: three standard errors.
        rng, held = np.random.default_rng(4), 0
        for _ in range(1000):
            shared, own = rng.standard_normal(4), rng.standard_normal((3, 4))
            found = pool({"v": [shared + own[0], shared + own[1]], "w": [2 * own[2]]})
            held += found.ci_low <= 0 <= found.ci_high
        assert 0.929 <= held / 1000 <= 0.971

    def test_equivalence_is_two_one_sided_tests(self) -> None:
        values = 0.1 * X
        error = values.std(ddof=1) / math.sqrt(5)
        p = equivalence(Pooled(float(values.mean()), 0, 0, 4, float(error)))
        above = stats.ttest_1samp(values, -1, alternative="greater").pvalue
        below = stats.ttest_1samp(values, 1, alternative="less").pvalue
        assert p == pytest.approx(max(above, below), abs=TIGHT)


def board(adam: Any, sgd: Any, **facts: Any) -> pd.DataFrame:
    return rows({"adam": list(adam), "sgd": list(sgd)}, **facts)


class TestTable:
    def test_each_board_is_divided_by_its_own_margin(self) -> None:
        few, many = board(X + 5, [5.0] * 5, margin=0.5), board(Y + 9, [9.0] * 4, margin=2.0).assign(workload="w2")
        scores = pd.concat([few, many])
        (row,) = stats_of.pooled_differences(asked(scores)).to_dict("records")
        expected = pool({"a": [X / 0.5], "b": [Y / 2]})
        assert [row[name] for name in ("difference", "ci_low", "ci_high", "df")] == pytest.approx(
            list(expected[:4]), abs=TIGHT
        )
        assert [row[name] for name in ("optimizer", "kind", "boards", "pairs", "n")] == [
            "adam", "at these bits", 2, 2, 4
        ]  # fmt: skip
        assert f"{100 * X.mean():.3g} points" in row["natural"] and f"{100 * Y.mean():.3g} points" in row["natural"]

    def test_superior_and_within_the_margin_are_both_said(self) -> None:
        scores = board([0.903, 0.9031, 0.9029, 0.903], [0.9028, 0.9027, 0.9027, 0.9028], margin=0.01)
        (row,) = stats_of.pooled_differences(asked(scores)).to_dict("records")
        assert row["better"] and row["equivalent"]

    def test_changes_from_the_control_are_pooled_too(self) -> None:
        quantized, control = board(X + 5, Y.tolist() + [5.0]), board([7.0] * 5, X / 2 + 7, bits=32)
        found = stats_of.pooled_differences(asked(pd.concat([quantized, control])))
        row = found[found["kind"] == "against 32/32"].iloc[0]
        change = (X + 5 - np.array([*Y, 5.0])) - (7 - (X / 2 + 7))
        expected = stats.ttest_1samp(change / 0.001, 0).confidence_interval(0.95)
        assert sorted(np.abs([row["ci_low"], row["ci_high"]])) == pytest.approx(
            sorted(np.abs([expected.low, expected.high])), rel=TIGHT
        )

    def test_step_optimizers_are_compared_within_an_optimizer_and_over_all(self) -> None:
        names = [f"{name}{end}" for name in ("sgd", "lion") for end in ("", " + own-rate steps", " + adam steps")]
        values = 0.8 + 0.01 * np.random.default_rng(6).standard_normal((6, 4))
        scores = rows({name: list(row) for name, row in zip(names, values, strict=True)})
        found = stats_of.pooled_differences(asked(scores, reference="sgd"))
        steps = found[found["kind"] == "step optimizer"].set_index("optimizer")
        assert steps.index.tolist() == ["lion + adam steps", "sgd + adam steps", "all + adam steps"]
        both = ((values[2] - values[1]) + (values[5] - values[4])) / 2 / 0.001
        interval = stats.ttest_1samp(both, 0).confidence_interval(0.95)
        row = steps.loc["all + adam steps"]
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high), rel=TIGHT)
        rate = found[(found["kind"] == "step rate") & (found["optimizer"] == "sgd + own-rate steps")].iloc[0]
        assert rate["difference"] == pytest.approx((values[1] - values[0]).mean() / 0.001, rel=TIGHT)
        assert rate["other"] == "sgd"

    def test_a_collapsed_run_leaves_no_interval(self) -> None:
        scores = pd.concat([board(X, Y.tolist() + [None]), board(X, X / 2).assign(workload="w2")])
        (row,) = stats_of.pooled_differences(asked(scores)).to_dict("records")
        assert row["why"] == TWO_HUMPS and math.isnan(row["ci_low"]) and not row["better"] and not row["equivalent"]

    def test_without_a_margin_there_is_no_scale(self) -> None:
        assert stats_of.pooled_differences(asked(board(X, Y.tolist() + [1.0], margin=None))).empty
