"""Ternary weights against a plain loop, brevitas, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import brevitas, check_compiled, check_degenerate, close, drawn, make, run, same
from tests.references import twn as reference
from tune_qat.quantizers.binary import SCALE_MIN
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.twn import TWN

SHAPE = (10, 5, 3, 2)
every_threshold = pytest.mark.parametrize("threshold", [0.05, 0.7, 1.5])


def check(build: Any, threshold: float = 0.7, dtype: torch.dtype = torch.float64) -> None:
    value, upstream = drawn(SHAPE, seed=3)
    codes, scale = reference.quantize(value.flatten().tolist(), threshold)
    assert {-1, 0, 1} == set(codes)
    quantizer = make(build, "weight", 2, value.to(dtype), threshold=threshold)
    result = quantizer(value.to(dtype))
    same(result.code, codes)
    assert result.scale.shape == ()
    found, by_value = run(quantizer, value.to(dtype), upstream.to(dtype))
    # Double precision, or float32: a mean of 300 terms, and a product and quotient by it.
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    close(found, [scale * code for code in codes], tolerance)
    close(by_value, upstream, tolerance)


@every_threshold
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_plain_loop(threshold: float, dtype: torch.dtype) -> None:
    check(TWN, threshold, dtype)


class MeanOfAll(TWN):
    """The size from all weights, not from those that are kept."""

    def _codes(self, value: torch.Tensor) -> Codes:
        return super()._codes(value)._replace(scale=value.detach().abs().mean())


class OfTheLargest(TWN):
    """The threshold from the largest weight, as in TTQ."""

    def _codes(self, value: torch.Tensor) -> Codes:
        self._threshold *= float(value.detach().abs().max() / value.detach().abs().mean())
        return super()._codes(value)


class MaskedGradient(TWN):
    """As brevitas: zeros get no gradient."""

    def _codes(self, value: torch.Tensor) -> Codes:
        kept = super()._codes(value).code.detach() != 0
        return super()._codes(torch.where(kept, value, value.detach()))


@pytest.mark.parametrize("mutant", [MeanOfAll, OfTheLargest, MaskedGradient])
def test_the_check_fails_for_a_wrong_one(mutant: type[TWN]) -> None:
    with pytest.raises(AssertionError):
        check(mutant)


def test_equals_brevitas_forward() -> None:
    pytest.importorskip("brevitas")
    value = drawn(SHAPE, seed=3)[0].float()
    codes = make(TWN, "weight", 2, value)(value)
    scale = float(codes.scale)
    expected = brevitas("ternary.TernaryQuant", scale, threshold=0.7 * float(value.abs().mean()) / scale)(value)[0]
    assert torch.equal(codes.value, expected)


class TestByHand:
    def test_values_and_gradients(self) -> None:
        # Mean size 1, so a threshold of 0.7: all but 0.5 and 0 are kept.
        value = torch.tensor([[3.0, -0.75, 0.5], [0.75, 0.0, -1.0]], dtype=torch.float64)
        quantizer = make(TWN, "weight", 2, value)
        upstream = torch.arange(1, 7, dtype=torch.float64).reshape(2, 3)
        found, by_value = run(quantizer, value, upstream)
        a = (3 + 0.75 + 0.75 + 1) / 4
        assert found.tolist() == [[a, -a, 0], [a, 0, -a]]
        close(by_value, upstream, 1e-15)  # times the size, and divided by it
        assert (quantizer.qmin, quantizer.qmax) == (-1, 1)

    def test_a_weight_on_the_threshold_is_zero(self) -> None:
        # Mean size 1 and a factor of 0.5, exact in binary.
        value = torch.tensor([[0.5, -0.5, 2.0, 1.0]], dtype=torch.float64)
        assert make(TWN, "weight", 2, value, threshold=0.5)(value).code.tolist() == [[0, 0, 1, 1]]


def test_degenerate_values() -> None:
    check_degenerate(TWN, "weight", 2)
    check_degenerate(TWN, "weight", 2, threshold=1.5)


def test_a_layer_with_nothing_above_the_threshold_is_zero_and_can_leave_it() -> None:
    value = torch.full((2, 3), 0.5, dtype=torch.float64)
    quantizer = make(TWN, "weight", 2, value, threshold=1.5)
    assert quantizer(value).scale.item() == SCALE_MIN
    found, by_value = run(quantizer, value, torch.ones_like(value))
    assert not found.any()
    close(by_value, torch.ones(2, 3), 1e-12)  # times the smallest scale, and divided by it


def test_what_is_not_a_number_stays_visible() -> None:
    assert make(TWN, "weight", 2, torch.ones(1, 2))(torch.tensor([[math.nan, 1.0]])).value.isnan().any()


def test_compiles_to_one_graph() -> None:
    value, upstream = drawn(SHAPE, seed=3)
    check_compiled(make(TWN, "weight", 2, value), value, upstream)
