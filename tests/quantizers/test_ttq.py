"""Trained ternary weights against a plain loop, autograd, brevitas, and numbers worked out by hand."""

import math
from abc import abstractmethod
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.quantizers.comparison import brevitas, check_compiled, check_degenerate, close, drawn, make, run, same
from tests.references import ttq as reference
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.ttq import SIZE_MIN, TTQ

SHAPE = (10, 5, 3, 2)
SIZES = (0.75, 1.25)
every_threshold = pytest.mark.parametrize("threshold", [0.05, 0.3])


def check(build: Any, threshold: float = 0.3, dtype: torch.dtype = torch.float64) -> None:
    value, upstream = drawn(SHAPE, seed=4)
    plain = reference.quantize(
        value.flatten().tolist(), *SIZES, threshold=threshold, upstream=upstream.flatten().tolist()
    )
    assert {-1, 0, 1} == set(plain.codes)
    quantizer = make(build, "weight", 2, value.to(dtype), parameters=SIZES, threshold=threshold)
    planes = quantizer(value.to(dtype)).code.unflatten(0, (-1, 2))
    same(planes[:, 0], [max(code, 0) for code in plain.codes])
    same(planes[:, 1], [min(code, 0) for code in plain.codes])
    found, by_value, by_positive, by_negative = run(quantizer, value.to(dtype), upstream.to(dtype))
    # Double precision, or float32: sums of 300 terms of order 1.
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    close(found, plain.values, tolerance)
    close(by_value, plain.by_weights, tolerance)
    close(by_positive, plain.by_positive, tolerance)
    close(by_negative, plain.by_negative, tolerance)


@every_threshold
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_plain_loop(threshold: float, dtype: torch.dtype) -> None:
    check(TTQ, threshold, dtype)


class Wrong(TTQ):
    """The codes as they should be, and a gradient that is the right one's but for what `change` adds to it."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        change = self.change(value, codes.code.detach())
        return codes._replace(code=codes.code + (change - change.detach()))

    @abstractmethod
    def change(self, value: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """What is added to the gradient's way back, in the shape of `code`."""


class NegativeWithoutMinus(Wrong):
    def change(self, value: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        # On the negative plane the gradient by `negative` is code (-1) / negative; twice that away turns its sign.
        return -2 * code.clamp(max=0) * self.negative / self.negative.detach()


class ZerosScaled(Wrong):
    """Zeros get `positive * g` in place of g."""

    def change(self, value: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        planes = code.unflatten(0, (-1, 2))
        zeros = (planes.abs().sum(1) == 0).to(value.dtype)
        wrong = value * zeros * (1 - 1 / self.positive.detach())
        return torch.stack((wrong, 0 * wrong), 1).flatten(0, 1)


class OneSize(TTQ):
    """Both planes with the size of the first."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        return codes._replace(scale=codes.scale[:1].expand(codes.scale.shape))


class PlanesApart(TTQ):
    """First all rows of one plane, then all of the other."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        return codes._replace(code=codes.code.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1))


@pytest.mark.parametrize("mutant", [NegativeWithoutMinus, ZerosScaled, OneSize, PlanesApart])
def test_the_check_fails_for_a_wrong_one(mutant: type[TTQ]) -> None:
    with pytest.raises(AssertionError):
        check(mutant)


class Unchanged(Wrong):
    def change(self, value: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return 0 * torch.cat((value, value)) * self.negative


def test_the_check_passes_without_the_mistake() -> None:
    check(Unchanged)


@every_threshold
def test_equals_the_composition_under_autograd(threshold: float) -> None:
    value, upstream = drawn(SHAPE, seed=5)
    leaves = [value.clone().requires_grad_(), *(torch.tensor(size).double().requires_grad_() for size in SIZES)]
    composed = reference.quantize_by_autograd(leaves[0], leaves[1], leaves[2], threshold)
    expected = torch.autograd.grad((upstream * composed).sum(), leaves)
    found = run(make(TTQ, "weight", 2, value, parameters=SIZES, threshold=threshold), value, upstream)
    for actual, wanted in zip(found, (composed.detach(), *expected), strict=True):
        close(actual, wanted, 1e-12)  # double precision, sums of 300 terms of order 1


def test_equal_sizes_equal_brevitas_forward() -> None:
    pytest.importorskip("brevitas")
    value = drawn(SHAPE, seed=4)[0].float()
    found = make(TTQ, "weight", 2, value, parameters=(0.75, 0.75))(value).value
    delta = float(torch.tensor(0.05) * value.abs().max())
    assert torch.equal(found, brevitas("ternary.TernaryQuant", 0.75, threshold=delta / 0.75)(value)[0])


def test_by_hand() -> None:
    # Threshold 0.25 of the largest, 4: 1 and -1 lie on it, and are 0.
    value = torch.tensor([[4.0, -2.0, 1.0], [-1.0, 0.0, 1.5]], dtype=torch.float64)
    quantizer = make(TTQ, "weight", 2, value, parameters=(0.5, 2.0), threshold=0.25)
    codes = quantizer(value)
    assert codes.code.tolist() == [[1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, 0]]
    assert codes.scale.tolist() == [[0.5], [2], [0.5], [2]] and codes.planes == 2
    upstream = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    found, by_value, by_positive, by_negative = run(quantizer, value, upstream)
    assert found.tolist() == [[0.5, -2, 0], [0, 0, 0.5]]
    assert by_value.tolist() == [[0.5, 4, 3], [4, 5, 3]]
    assert (by_positive.item(), by_negative.item()) == (7, -2)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_of_planes_trains_as_one_of_values(groups: int) -> None:
    value, _ = drawn((4, 3, 2, 2), seed=6)
    inputs, _ = drawn((2, 3 * groups, 5, 5), seed=7)
    quantizer = make(TTQ, "weight", 2, value, parameters=SIZES, threshold=0.3)
    leaves = (value.clone().requires_grad_(), *quantizer.parameters())
    codes = quantizer(leaves[0])
    rows = functional.conv2d(inputs, codes.code, groups=groups) * codes.scale.reshape(-1, 1, 1)
    output = rows.unflatten(1, (-1, 2)).sum(2)
    composed = functional.conv2d(
        inputs, reference.quantize_by_autograd(leaves[0], leaves[1], leaves[2], 0.3), groups=groups
    )
    close(output.detach(), composed.detach(), 1e-12)  # double precision, sums of some hundred terms
    found = torch.autograd.grad(output.square().sum(), leaves)
    for actual, expected in zip(found, torch.autograd.grad(composed.square().sum(), leaves), strict=True):
        close(actual, expected, 1e-12)


def test_sizes_start_at_one_and_stay_above_zero() -> None:
    value, _ = drawn(SHAPE, seed=4)
    quantizer = make(TTQ, "weight", 2, value)
    names = [name for name, _ in quantizer.named_parameters()]
    assert names == ["positive", "negative"] and quantizer.decayed == ()
    assert [parameter.item() for parameter in quantizer.parameters()] == [1, 1]
    for given, expected in ((-0.5, SIZE_MIN), (0.0, SIZE_MIN), (0.25, 0.25)):
        with torch.no_grad():
            for parameter in quantizer.parameters():
                parameter.fill_(given)
            quantizer.constrain()
        assert [parameter.item() for parameter in quantizer.parameters()] == [expected, expected]
    quantizer.calibrate(value)
    assert [parameter.item() for parameter in quantizer.parameters()] == [1, 1]


def test_degenerate_values() -> None:
    check_degenerate(TTQ, "weight", 2)
    check_degenerate(TTQ, "weight", 2, parameters=(SIZE_MIN, SIZE_MIN))


def test_what_is_not_a_number_stays_visible() -> None:
    assert make(TTQ, "weight", 2, torch.ones(1, 2))(torch.tensor([[math.nan, 1.0]])).value.isnan().any()


def test_compiles_to_one_graph() -> None:
    value, upstream = drawn(SHAPE, seed=4)
    check_compiled(make(TTQ, "weight", 2, value, parameters=SIZES), value, upstream)
