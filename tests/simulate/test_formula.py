"""The stand-in formula beside a plain twin over single numbers."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from tests.simulate.small import small
from tune_qat.config import TrialConfig
from tune_qat.simulate import formula as closed_form
from tune_qat.simulate.formula import ClosedForm
from tune_qat.study import Arm, Study
from tune_qat.tuning.plan import PlannedTrial, Planner

STUDY = small(space={"optimizers": ["adam", "nesterov"], "batch_size": {"low": 16, "high": 256}})


def plan(study: Study, optimizer: str, seed: int = 0, **values: float) -> PlannedTrial:
    """At 4/4 bits; what is not given is in the middle."""
    arm = next(arm for arm in study.arms() if arm.optimizer == optimizer and not arm.scheme.is_float)
    given = {"learning_rate": 1e-2, "batch_size": 64, **values}
    planner = Planner(study=study, work=ClosedForm.of(study))
    return planner.plan(arm, "search", optimizer, given, seed=seed, number=0, source="sampler")


def off(config: TrialConfig, middle: float) -> float:
    """Decades above the best rate, where 64 is the middle batch size."""
    digest = hashlib.sha256(f"{config.optimizer}/{config.scheme.label}".encode()).hexdigest()
    shift = int(digest[:8], 16) / 16**8 - 0.5
    return math.log10(config.learning_rate / (middle * 10**shift * math.sqrt(config.batch_size / 64)))


def score(config: TrialConfig, epoch: int, middle: float, side: float = 0.0) -> float:
    d = off(config, middle)
    floor = 0.02 + 0.3 * 2**-config.scheme.weight_bits
    bowl = (0.1 * d**2 if d > 0 else 0.02 * d**2) + 0.02 * side**2
    m = 1 + epoch * math.sqrt(64 / config.batch_size)
    return 1 - (floor + bowl + (0.9 - floor) * m ** -(0.9 * 10 ** (min(d, 0) / 3)))


@pytest.mark.parametrize("rate", [1e-5, 3e-4, 2e-3, 1e-2])
@pytest.mark.parametrize("batch_size", [16, 64, 256])
def test_scores_are_those_of_the_formula(rate: float, batch_size: int) -> None:
    one = plan(STUDY, "adam", learning_rate=rate, batch_size=batch_size)
    # Adam's middle: the root of 1e-5 x 1e-1. The same operations in another order.
    assert ClosedForm.of(STUDY).worth(one) == pytest.approx(score(one.config, 9, 1e-3), rel=1e-12)


def test_other_dimensions_have_their_bowl() -> None:
    one = plan(STUDY, "nesterov", momentum=0.5)
    # Nesterov's rates span 1e-4 .. 1, momentum 0.5 .. 0.99 on a linear axis.
    assert ClosedForm.of(STUDY).worth(one) == pytest.approx(score(one.config, 9, 1e-2, side=-0.5), rel=1e-12)


def test_noise_is_small_of_the_trial_and_the_same_again() -> None:
    form = ClosedForm.of(STUDY)
    plans = [plan(STUDY, "adam", seed, learning_rate=1e-3) for seed in range(400)]
    curves = [form.curve(one) for one in plans]
    assert curves == [form.curve(one) for one in plans]
    ends = np.array([curve.end for curve in curves])
    expected = score(plans[0].config, 9, 1e-3)
    deviation = math.hypot(0.003, 0.01 / 3)
    # Six standard errors of a mean of 400, and of their deviation.
    assert abs(ends.mean() - expected) < 6 * deviation / 20
    assert abs(ends.std() - deviation) < 6 * deviation / math.sqrt(800)


def test_rates_far_above_the_best_diverge_in_the_first_half() -> None:
    form = ClosedForm.of(STUDY)
    for rate in np.geomspace(1e-4, 0.1, 40):
        one = plan(STUDY, "adam", learning_rate=float(rate))
        curve, away = form.curve(one), off(one.config, 1e-3)
        if away < 1.0:  # five deviations of the edge below it
            assert curve.status == "completed" and len(curve.metrics) == 9
        if away > 2.0:
            assert curve.status == "diverged" and curve.end is None
            assert len(curve.metrics) <= 5 and curve.metrics[-1] is None


@pytest.mark.parametrize("mode", ["comparison", "joint"])
def test_nothing_is_better_than_the_best(mode: str) -> None:
    study = small(mode=mode)
    form, planner = ClosedForm.of(study), Planner(study=study, work=ClosedForm.of(study))
    generator = np.random.default_rng(0)
    for arm in study.arms():
        best = form.best(arm)
        found = [form.worth(random_plan(study, planner, arm, generator)) or 0.0 for _ in range(2_000)]
        assert max(found) <= best
        assert max(found) > best - 0.005, "it is reached, or nearly"


def random_plan(study: Study, planner: Planner, arm: Arm, generator: Any) -> PlannedTrial:
    optimizer = arm.optimizers[generator.integers(len(arm.optimizers))]
    values: dict[str, float] = {}
    for name, bounds in study.dimensions(optimizer).items():
        share = generator.uniform()
        values[name] = bounds.low * (bounds.high / bounds.low) ** share if bounds.log else bounds.low
    values["batch_size"] = 2 ** int(generator.integers(4, 7))
    return planner.plan(arm, "random", optimizer, values, seed=0, number=0, source="random")


def test_an_optimizer_without_a_rate_is_at_its_best_one() -> None:
    study = small(space={"optimizers": ["prodigy"], "batch_size": {"low": 16, "high": 64}})
    form = ClosedForm.of(study)
    arm = study.arms()[1]
    assert form.worth(plan(study, "prodigy", learning_rate=1.0, batch_size=16, d_coef=1.0)) == form.best(arm)


def test_a_start_never_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "EDGE", -100.0)
    study = small()
    form = ClosedForm.of(study)
    start = Planner(study=study, work=form).of_config(study.pretrain_config(0), "pretrain", "pretrain", {})
    assert form.curve(start).status == "completed" and len(form.curve(start).metrics) == 2
    assert form.curve(plan(study, "adam")).status == "diverged"
