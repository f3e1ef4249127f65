import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import curve_fit

import analysis
from analysis.stats.batch_scaling import critical_batch, critical_batch_size, rate_exponent, rate_scaling
from analysis.stats.intervals import Numbers
from tests.analysis.stats.told import Told, tuning
from tests.helpers.records import SmallStudy

EXACT = 1e-9  # logs of rates and their powers


def simulated(generator: np.random.Generator, n: int, exponent: float) -> tuple[Numbers, Numbers, Numbers]:
    """n random trials at batch sizes 32 .. 512: a parabola over log rate around rate ~ size ^ exponent, with noise."""
    sizes = 2.0 ** generator.integers(5, 10, n)
    log_rate = generator.uniform(-5, -1, n)
    best = -3 + exponent * np.log10(sizes / 128)
    return sizes, 10**log_rate, 1 - 0.05 * (log_rate - best) ** 2 + 0.02 * generator.normal(size=n)


class TestRateExponent:
    def test_is_the_slope_through_the_best_rate_of_each_batch_size(self) -> None:
        generator = np.random.default_rng(0)
        sizes = np.repeat([16.0, 32.0, 64.0, 128.0], 5)
        rates, objectives = 10 ** generator.uniform(-4, -1, 20), generator.random(20)
        best = [rates[i * 5 + objectives[i * 5 : i * 5 + 5].argmax()] for i in range(4)]
        expected = stats.linregress(np.log10([16, 32, 64, 128]), np.log10(best))
        found = rate_exponent(sizes, rates, objectives)
        assert (found.exponent, found.intercept) == pytest.approx((expected.slope, expected.intercept), abs=EXACT)
        assert found.ci_low <= found.exponent <= found.ci_high and found.reason == ""

    @pytest.mark.parametrize("exponent", [0.5, 1.0])
    def test_known_exponent_is_recovered_and_covered(self, exponent: float) -> None:
        generator = np.random.default_rng(1)
        fits = [rate_exponent(*simulated(generator, 60, exponent), seed) for seed in range(200)]
        errors = np.array([fit.exponent - exponent for fit in fits])
        # A standard deviation of about 0.45 over 200 studies: four standard errors.
        assert abs(errors.mean()) < 0.13
        covered = np.mean([fit.ci_low <= exponent <= fit.ci_high for fit in fits])
        assert 0.90 <= covered <= 0.99  # 93 to 97 % (benchmarks/tuning_coverage.py); two errors of 200

    def test_three_batch_sizes_have_a_line_and_no_interval_and_two_have_neither(self) -> None:
        sizes = np.repeat([16.0, 32.0, 64.0], 5)
        rates, objectives = np.repeat([0.01, 0.02, 0.04], 5), np.ones(15)
        three = rate_exponent(sizes, rates, objectives)
        assert three.exponent == pytest.approx(1.0, abs=EXACT)
        assert math.isnan(three.ci_low) and three.reason.endswith("more: 3, and an interval needs 4")
        two = rate_exponent(sizes[:10], rates[:10], objectives[:10])
        assert math.isnan(two.exponent) and two.reason.endswith("more: 2, and a line needs 3")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_table_takes_completed_trials_of_sizes_that_have_enough(self, sign: int) -> None:
        frames = []
        for size in (16, 32, 64, 128):
            rates = [1e-5, 1e-4, size * 1e-4, 1e-1, 1.0]
            scores = [0.5, 0.5, 0.9, 0.5, 0.5] if sign > 0 else [0.5, 0.5, 0.1, 0.5, 0.5]
            frames.append(tuning(scores, learning_rate=rates, batch_size=size, sign=sign))
        # Neither a failed trial, whatever its score, nor four trials of a size, nor a stopped one, has a say.
        said: dict[str, Any] = {"learning_rate": 1.0, "sign": sign}
        frames.append(tuning([0.9 if sign > 0 else 0.1], batch_size=64, status="diverged", **said))
        frames.append(tuning([0.9] * 4, batch_size=256, **said))
        frames.append(tuning([None], batch_size=128, **said))
        # What a sampler proposed follows from what it had seen.
        frames.append(tuning([0.99 if sign > 0 else 0.01] * 5, "search", batch_size=64, **said))
        row = rate_scaling(Told(tuning_scores=pd.concat(frames))).iloc[0]
        assert (row["sizes"], row["n"]) == (4, 20)
        assert row["exponent"] == pytest.approx(1.0, abs=EXACT)
        assert row["linear"] and row["reason"] == ""

    def test_arm_without_a_completed_trial_says_so(self) -> None:
        row = rate_scaling(Told(tuning_scores=tuning([0.1], status="diverged"))).iloc[0]
        assert row["linear"] is None and row["reason"].endswith("more: 0, and a line needs 3")


class TestCriticalBatch:
    def test_curve_without_noise_is_recovered(self) -> None:
        sizes = np.array([8.0, 16.0, 64.0, 256.0])
        found = critical_batch(sizes, 500 * (1 + 40 / sizes))
        assert (found.s_min, found.b_crit) == pytest.approx((500, 40))
        assert found.reason == ""

    def test_is_the_least_squares_of_relative_errors(self) -> None:
        generator = np.random.default_rng(2)
        sizes = 2.0 ** np.arange(3, 10)
        steps = 500 * (1 + 40 / sizes) * np.exp(0.1 * generator.normal(size=7))
        (s_min, b_crit), _ = curve_fit(lambda b, s, c: s * (1 + c / b), sizes, steps, p0=(400, 30), sigma=steps)
        found = critical_batch(sizes, steps)
        # curve_fit stops at a relative change of 1e-8.
        assert (found.s_min, found.b_crit) == pytest.approx((s_min, b_crit), rel=1e-5)

    def test_what_lies_beyond_the_sizes_tried_is_not_given(self) -> None:
        sizes = np.array([8.0, 16.0, 32.0])
        assert "the critical one lies above" in critical_batch(sizes, 8000 / sizes).reason
        flat = critical_batch(sizes, np.full(3, 100.0))
        assert flat.s_min == pytest.approx(100.0) and "the critical one lies below" in flat.reason
        assert math.isnan(flat.b_crit)
        assert critical_batch(sizes[:2], sizes[:2]).reason.endswith("reached: 2, and a fit needs 3")


class TestStepsToTarget:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_fewest_steps_of_each_batch_size_to_the_default_of_a_typical_optimizer(
        self, tmp_path: Path, sign: int
    ) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)

        def at(value: float) -> float:
            return value if sign > 0 else 1 - value

        adam, sgd, lion = study.arm("adam"), study.arm("sgd"), study.arm("lion")
        # Defaults of 0.6, 0.7 and a diverged one, which is trivial: the median is 0.6.
        study.trial(adam, "default", val_metric=at(0.6))
        study.trial(sgd, "default", val_metric=at(0.7))
        study.trial(lion, "default", "diverged")
        for size, step, value in ((16, 400, 0.6), (16, 300, 0.65), (32, 200, 0.9), (64, 100, 0.5)):
            key = study.trial(adam, "search", val_metric=at(value), batch_size=size)
            study.last_epoch(key, step=step, val_metric=at(value))
        key = study.trial(adam, "search", "stopped", batch_size=32, epochs_run=4)
        study.last_epoch(key, step=150, val_metric=at(0.6))
        study.retrain(adam, at(0.9), batch_size=16)
        found = analysis.frame(tmp_path, "steps_to_target")
        assert found["target"].tolist() == pytest.approx([at(0.6)] * len(found))
        adams = found[found["optimizer"] == "adam"].set_index("batch_size")
        assert adams["steps"].dropna().to_dict() == {16: 300, 32: 150}
        assert adams["n"].to_dict() == {16: 2, 32: 3, 64: 1}
        assert adams["reached"].to_dict() == {16: 2, 32: 2, 64: 0}

    def test_table_says_why_there_is_no_fit(self) -> None:
        steps = tuning([0.5] * 3, batch_size=[16, 32, 64]).assign(steps=[300.0, 200.0, None])
        row = critical_batch_size(Told(steps_to_target=steps)).iloc[0]
        assert (
            row["sizes"] == 2 and math.isnan(row["b_crit"]) and row["reason"].endswith("reached: 2, and a fit needs 3")
        )
