import math

import numpy as np
import pytest
from scipy import optimize, stats

from analysis.stats.reml import FEW_REPEATS, ONE_SEED, SAME, spread


def by_matrices(repeats: list[list[float]], tau: float, sigma: float) -> float:
    """-2 log of the restricted likelihood from its definition, with the whole covariance matrix."""
    y = np.concatenate(repeats)
    blocks = np.repeat(np.arange(len(repeats)), [len(each) for each in repeats])
    covariance = tau**2 * (blocks[:, None] == blocks) + sigma**2 * np.eye(len(y))
    inverse, ones = np.linalg.inv(covariance), np.ones(len(y))
    information = ones @ inverse @ ones
    rest = y - ones @ inverse @ y / information
    return float(np.linalg.slogdet(covariance)[1] + math.log(information) + rest @ inverse @ rest)


def made(seed: int, sizes: list[int], tau: float = 2.0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [list(5 + tau * rng.standard_normal() + rng.standard_normal(size)) for size in sizes]


def test_balanced_data_have_the_closed_form() -> None:
    values = np.array(made(1, [3] * 6))
    within = values.var(axis=1, ddof=1).mean()
    between = 3 * values.mean(axis=1).var(ddof=1)
    found = spread([list(row) for row in values])
    # The search ends within 1e-5 of the least likelihood's place.
    assert found.tau == pytest.approx(math.sqrt((between - within) / 3), rel=1e-4)
    assert found.sigma == pytest.approx(math.sqrt(within), rel=1e-4)


@pytest.mark.parametrize("sizes", [[2, 2, 2, 2], [1, 2, 5, 3, 2]])
def test_unbalanced_data_and_the_interval_are_those_of_the_likelihood(sizes: list[int]) -> None:
    repeats = made(2, sizes)
    best = optimize.minimize(lambda x: by_matrices(repeats, *np.exp(x)), [0.0, 0.0], method="Nelder-Mead",
                             options={"xatol": 1e-9, "fatol": 1e-11})  # fmt: skip
    found = spread(repeats)
    assert (found.tau, found.sigma) == pytest.approx(tuple(np.exp(best.x)), rel=1e-3)
    for end in (found.ci_low, found.ci_high):
        if end > 0:
            least = optimize.minimize_scalar(lambda x, at=end: by_matrices(repeats, at, math.exp(x)), (-2, 2))
            assert least.fun - best.fun == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-4)
    assert found.ci_low <= found.tau <= found.ci_high


def test_repeats_that_differ_no_more_than_seeds_have_a_tau_of_0() -> None:
    found = spread([[1.0, 2.0, 3.0], [1.1, 2.0, 2.9], [0.9, 2.0, 3.1]])
    assert (found.tau, found.ci_low) == (0, 0) and 0 < found.ci_high < 2
    assert found.why is None


@pytest.mark.parametrize(
    ("repeats", "why"),
    [([[1.0, 2.0]], FEW_REPEATS), ([[1.0], [2.0], [3.0]], ONE_SEED), ([[1.0, 1.0], [2.0, 2.0]], SAME)],
)
def test_without_what_it_takes_there_is_a_reason(repeats: list[list[float]], why: str) -> None:
    found = spread(repeats)
    assert found.why == why and math.isnan(found.tau)


def test_the_interval_covers_a_known_tau() -> None:
    # Six repeats of two seeds, tau twice sigma: 95 % within three standard errors of a share of 120.
    held = 0
    for study in range(120):
        found = spread(made(100 + study, [2] * 6))
        held += found.ci_low <= 2.0 <= found.ci_high
    assert 0.89 <= held / 120
