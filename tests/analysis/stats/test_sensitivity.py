import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.stats.sensitivity import (
    basin_width,
    envelope,
    learning_rate_envelope,
    learning_rate_sensitivity,
    mean_loss,
    near_best,
    smooth,
)
from tests.analysis.stats.told import Told, tuning

EXACT = 1e-12  # a few double-precision operations on numbers near 1


class TestEnvelope:
    def test_is_the_best_of_each_quarter_decade_at_its_own_rate(self) -> None:
        # 1e-3 and 1.15e-3 share a quarter decade, whose middle is -3; 1.5e-3 is nearer to -2.75.
        rates, objectives = np.array([1.5e-3, 1e-3, 1.15e-3, 1e-3]), np.array([0.4, 0.7, 0.9, 0.9])
        found = envelope(rates, objectives)
        assert (10**found.log10_rate).tolist() == pytest.approx([1e-3, 1.5e-3], rel=EXACT)
        assert (found.best.tolist(), found.n.tolist()) == ([0.9, 0.4], [3, 1])

    @pytest.mark.parametrize("sign", [1, -1])
    def test_table_has_trials_of_every_tuning_stage_and_none_that_was_stopped(self, sign: int) -> None:
        rates = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
        scores = [0.5 + 0.01 * sign * i for i in range(6)]
        frame = pd.concat(
            [
                tuning([score], stage, learning_rate=rate, sign=sign)
                for score, rate, stage in zip(scores, rates, ["default", "random", "search"] * 2, strict=True)
            ]
            + [tuning([None], "search", learning_rate=1e-6, sign=sign)]
        )
        found = learning_rate_envelope(Told(tuning_scores=frame))
        assert found["learning_rate"].tolist() == pytest.approx(rates, rel=EXACT)
        assert found["best"].tolist() == pytest.approx(scores, abs=EXACT)
        # On a straight line a local line is the line: only rounding is between them.
        assert found["smooth"].tolist() == pytest.approx(scores, abs=1e-9)


class TestSmooth:
    def test_five_points_have_no_line(self) -> None:
        assert np.isnan(smooth(np.arange(5.0), np.arange(5.0))).all()

    def test_is_a_tricube_weighted_line_through_the_six_nearest(self) -> None:
        x, y = np.arange(12.0), np.random.default_rng(0).random(12)
        # At x = 0 the six nearest are 0 .. 5; the farthest of them is the radius and has no weight.
        weights = (1 - (x[:6] / 5) ** 3) ** 3
        slope, start = np.polyfit(x[:6], y[:6], 1, w=np.sqrt(weights))
        assert smooth(x, y)[0] == pytest.approx(start, abs=1e-6)  # statsmodels takes a radius that is a touch wider


class TestBasinWidth:
    def test_of_a_triangle(self) -> None:
        # Falls by 1 in 2 on the left and by 1 in 1 on the right: 0.1 below the top is 0.2 and 0.1 away.
        assert basin_width(np.array([0.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0]), 0.1) == pytest.approx(0.3, abs=EXACT)

    def test_of_a_parabola_sampled_by_quarter_decades(self) -> None:
        x = np.arange(-5, -0.9, 0.25)
        # 1 - (x + 3)^2 is within 0.5 of its top for 2 sqrt(0.5) decades; a chord of 0.25 lies at most
        # 0.25^2 / 4 = 0.0156 below it, which at slope 2 sqrt(0.5) is 0.011 on either side.
        assert basin_width(x, 1 - (x + 3) ** 2, 0.5) == pytest.approx(2 * math.sqrt(0.5), abs=0.022)

    def test_stretches_count_together_and_a_plateau_counts_whole(self) -> None:
        y = np.array([0.9, 0.9, 0.0, 0.9, 0.9])
        assert basin_width(np.arange(5.0), y, 0.09) == pytest.approx(2.2, abs=EXACT)  # 1 + 0.1 + 0.1 + 1

    def test_one_point_or_no_measure_has_none(self) -> None:
        assert math.isnan(basin_width(np.array([1.0]), np.array([1.0]), 0.1))
        assert math.isnan(basin_width(np.array([1.0, 2.0]), np.array([1.0, 2.0]), math.nan))


@pytest.mark.parametrize(
    ("unit", "margin", "expected"),
    [
        ("fraction", 0.001, 0.01),
        ("fraction", 0.03, 0.03),
        ("fraction", math.nan, 0.01),
        ("dB", 0.1, 0.2),
        ("percent", math.nan, 1.0),
        ("nats", 0.1, 0.2),
    ],
)
def test_near_best_is_of_the_unit_and_never_within_the_margin(unit: str, margin: float, expected: float) -> None:
    assert near_best(unit, margin) == expected
    assert math.isnan(near_best("nats", math.nan))


def test_mean_loss_takes_nothing_for_worse_than_trivial() -> None:
    assert mean_loss(np.array([0.9, 0.5, -3.0]), 0.1) == pytest.approx((0 + 0.4 + 0.8) / 3, abs=EXACT)
    assert mean_loss(np.array([0.9, 0.5]), math.nan) == pytest.approx(0.2, abs=EXACT)


class TestTable:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_row_of_an_arm(self, sign: int) -> None:
        trivial = 0.1 if sign > 0 else 0.9
        objectives = [0.8, 0.9, 0.895, trivial if sign > 0 else 0.1]
        scores = objectives if sign > 0 else [1 - value for value in objectives]
        said: dict[str, Any] = {"sign": sign, "trivial": trivial, "default_learning_rate": 1e-2}
        frame = tuning(
            scores,
            learning_rate=[1e-4, 1e-3, 1e-2, 1e-1],
            status=["completed"] * 3 + ["diverged"],
            **said,
        )
        row = learning_rate_sensitivity(Told(tuning_scores=frame)).iloc[0]
        assert (row["n"], row["best"], row["default_learning_rate"]) == (4, pytest.approx(scores[1], abs=EXACT), 1e-2)
        assert row["best_learning_rate"] == 1e-3
        # Within 0.01 of 0.9: a tenth of the decade that falls by 0.1, all of the one that falls by 0.005, and of the
        # one from 0.895 to 0.1 its first 0.005 / 0.795.
        assert row["basin_width"] == pytest.approx(0.1 + 1 + 0.005 / 0.795, abs=1e-9)  # 10^x and back
        assert (row["low_open"], row["high_open"]) == (False, False)
        assert row["mean_loss"] == pytest.approx((0.1 + 0 + 0.005 + 0.8) / 4, abs=EXACT)

    def test_ratio_is_over_the_same_optimizer_of_the_same_study_at_32_bits(self) -> None:
        control: dict[str, Any] = {"method": "none", "weight_bits": 32, "activation_bits": 32}
        frame = pd.concat(
            [
                tuning([0.9], learning_rate=1e-2, **control),
                tuning([0.8, 0.7], learning_rate=[1e-3, 1e-2]),
                tuning([0.8], learning_rate=1e-3, optimizer="sgd"),
                tuning([0.9], learning_rate=5e-2, study_id="other", **control),
            ]
        )
        found = learning_rate_sensitivity(Told(tuning_scores=frame)).set_index(["study_id", "weight_bits", "optimizer"])
        assert found.loc[("s", 4, "adam"), "rate_ratio"] == pytest.approx(0.1, abs=EXACT)
        assert found["rate_ratio"].notna().sum() == 1

    def test_only_failed_trials_have_no_best_rate(self) -> None:
        frame = tuning([0.1, 0.1], status="diverged", learning_rate=[1e-3, 1e-2])
        row = learning_rate_sensitivity(Told(tuning_scores=frame)).iloc[0]
        assert math.isnan(row["best_learning_rate"]) and row["best"] == 0.1

    def test_nothing_scored_makes_an_empty_table(self) -> None:
        found = learning_rate_sensitivity(Told(tuning_scores=tuning([None])))
        assert not len(found) and {"basin_width", "rate_ratio"} <= set(found)
