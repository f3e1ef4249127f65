"""Allocation of bits: the best of all choices, found by trying each."""

import itertools

import numpy as np
import pytest

from tune_qat.quantization.allocation import allocate

Table = list[list[float]]


def best(sensitivities: list[list[float | None]], costs: Table, limit: float) -> float | None:
    """The smallest sum of sensitivities within the limit, of all choices that there are."""
    sums = []
    for choice in itertools.product(*(range(len(row)) for row in costs)):
        felt = [row[at] for row, at in zip(sensitivities, choice, strict=True)]
        cost = sum(row[at] for row, at in zip(costs, choice, strict=True))
        if cost <= limit and None not in felt:
            sums.append(sum(one for one in felt if one is not None))
    return min(sums, default=None)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_it_is_the_best_of_all_choices(seed: int, spread: float) -> None:
    """Sizes of layers and sensitivities differ by orders of magnitude where `spread` is large, as in real nets."""
    random = np.random.default_rng(seed)
    bits = [2, 3, 4, 6, 8]
    weights = (100 * 10 ** random.uniform(0, 1 + spread, 5)).astype(int)
    scale = 10 ** random.uniform(-spread, spread, 5)
    sensitivities: list[list[float | None]] = [
        [float(of * 4.0**-width * random.uniform(0.5, 2)) for width in bits] for of in scale
    ]
    costs = [[float(count * width) for width in bits] for count in weights]
    for average in (2.0, 2.5, 3.7, 5.0, 8.0):
        limit = average * float(weights.sum())
        chosen = allocate(sensitivities, costs, limit)
        assert chosen is not None
        assert sum(row[at] for row, at in zip(costs, chosen, strict=True)) <= limit
        felt = sum(float(row[at] or 0) for row, at in zip(sensitivities, chosen, strict=True))
        # Sums differ in the order of their terms alone.
        assert felt == pytest.approx(best(sensitivities, costs, limit), rel=1e-9)


def test_a_planted_layer_keeps_its_bits() -> None:
    costs = [[2.0, 4.0, 8.0]] * 3
    insensitive: list[float | None] = [1e-3, 1e-4, 1e-5]
    assert allocate([insensitive, [1.0, 0.5, 0.0], insensitive], costs, 12.0) == [0, 2, 0]


def test_what_is_left_goes_to_layers_that_are_no_more_sensitive() -> None:
    assert allocate([[0.0, 0.0, 0.0], [1.0, 0.1, 0.0]], [[2.0, 4.0, 8.0]] * 2, 12.0) == [1, 2]
    assert allocate([[0.0, 0.0, 0.0]], [[2.0, 4.0, 8.0]], 7.9) == [1]


def test_candidates_without_a_finite_loss_are_not_chosen() -> None:
    costs = [[2.0, 4.0]] * 2
    assert allocate([[None, 0.5], [0.1, 0.0]], costs, 6.0) == [1, 0]
    assert allocate([[None, 0.5], [None, 0.0]], costs, 6.0) is None
    assert allocate([[0.1, 0.0]], [[2.0, 4.0]], 1.9) is None
