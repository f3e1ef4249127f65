"""Evidence on a rung: the exact interval beside scipy's, counts beside plain counting."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tune_qat.results.early_stopping import Kept, Unstopped, earliest_that_holds, exact_interval, keeps_best, kept_at


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("n", [1, 5, 20, 300])
def test_the_interval_is_clopper_and_pearsons(n: int, level: float) -> None:
    for count in {0, 1, n // 3, n - 1, n}:
        found = stats.binomtest(count, n).proportion_ci(level, method="exact")
        assert exact_interval(count, n, level) == pytest.approx((found.low, found.high), abs=1e-9)  # its root search


@pytest.mark.parametrize("arms", range(1, 41))
def test_a_rung_is_refuted_where_so_few_or_fewer_are_kept_in_less_than_1_in_20_of_cases(arms: int) -> None:
    for kept in range(arms + 1):
        rare = stats.binom.cdf(kept, arms, 0.8) < 0.05
        assert Kept(1, kept, arms).refuted == (rare and arms >= 5)


def test_figures_of_the_audited_studies() -> None:
    assert Kept(2, 12, 20).refuted and Kept(1, 9, 30).refuted and not Kept(6, 18, 20).refuted
    assert Kept(6, 18, 20).figures == "18 of 20 arms (90%, exact 90% interval 72% to 98%)"


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_best_is_kept_where_sorting_puts_it_among_those_that_go_on(factor: int) -> None:
    generator = np.random.default_rng(factor)
    for _ in range(200):
        n = int(generator.integers(3, 14))
        now, end = (generator.integers(0, 6, n).astype(float) for _ in range(2))  # with equal values among them
        best = max((i for i in range(n) if end[i] == end.max()), key=lambda i: now[i])
        last = sorted(now, reverse=True)[-(-n // factor) - 1]
        assert keeps_best(now.tolist(), end.tolist(), factor) == (now[best] >= last)


def arm(*trials: tuple[list[float], float]) -> list[Unstopped]:
    return [Unstopped(epochs, end) for epochs, end in trials]


def crossing(at: int, epochs: int = 6, n: int = 9) -> list[Unstopped]:
    """An arm whose later best is last before an epoch, and first from there on."""
    return [
        Unstopped([float(i) if epoch >= at else float(-i) for epoch in range(1, epochs + 1)], float(i))
        for i in range(n)
    ]


def test_an_arm_counts_with_eight_trials_also_where_one_has_not_reached_the_rung() -> None:
    whole = crossing(1)
    lost: list[Any] = [*whole[:7], Unstopped([0.0, None], -1.0)]
    assert kept_at(2, [whole, lost], 3) == Kept(2, 2, 2)
    assert kept_at(2, [whole, whole[:7]], 3) == Kept(2, 1, 1)
    early = arm(*[([1.0], 0.0)] * 6, ([1.0, 2.0], 2.0), ([1.0, 1.0], 1.0))
    assert kept_at(2, [early], 3) == Kept(2, 0, 0), "two are no order"


def test_the_earliest_that_holds_has_no_refuted_one_behind_it() -> None:
    late = [crossing(4)] * 5
    assert [kept_at(rung, late, 3).kept for rung in range(1, 6)] == [0, 0, 0, 5, 5]
    assert earliest_that_holds(late, 6, 3) == Kept(4, 5, 5)
    back = [[Unstopped([*one.epochs[:4], -one.end, one.end], one.end) for one in crossing(1)]] * 5
    assert not kept_at(1, back, 3).refuted and kept_at(5, back, 3).refuted
    assert earliest_that_holds(back, 6, 3) is None
    assert earliest_that_holds(late[:4], 6, 3) is None, "too few arms"
