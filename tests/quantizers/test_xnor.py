"""XNOR-Net against a plain loop, brevitas, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import brevitas, check_compiled, check_degenerate, close, drawn, make, run, same
from tests.references import xnor as reference
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.xnor import XNORActivation, XNORWeight

SHAPES = [(6, 5, 3, 2), (6, 1, 3, 3), (6, 20)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["convolution", "one input channel", "linear"])
every_gradient = pytest.mark.parametrize("gradient", ["paper", "code"])


def sample(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """A third of them beyond 1; also zeros of both signs and weights at the ends."""
    value, upstream = drawn(shape, seed=len(shape))
    value = (value * torch.linspace(0.5, 2, shape[0]).reshape(-1, *(1,) * (len(shape) - 1))).float().double()
    value.flatten()[:6] = torch.tensor([0.0, -0.0, 1, -1, 0.999, -0.999], dtype=torch.float64)
    return value, upstream


def nested(value: torch.Tensor) -> reference.Filters:
    filters: reference.Filters = value.reshape(*value.shape[:2], -1).tolist()
    return filters


def check(build: Any, shape: tuple[int, ...] = SHAPES[0], gradient: str = "paper") -> None:
    value, upstream = sample(shape)
    plain = reference.quantize_weights(nested(value), nested(upstream), gradient)
    quantizer = make(build, "weight", 1, value, gradient=gradient)
    codes = quantizer(value)
    assert nested(codes.code) == plain.codes
    assert codes.scale.shape == (shape[0], *(1,) * (len(shape) - 1))
    close(codes.scale, plain.scales, 1e-12)  # double precision, a mean of at most 30
    found, by_value = run(quantizer, value, upstream)
    close(found, plain.values, 1e-12)
    close(by_value, plain.gradients, 1e-12)  # a few products


@every_shape
@every_gradient
def test_weights_equal_the_plain_loop(shape: tuple[int, ...], gradient: str) -> None:
    check(XNORWeight, shape, gradient)


@every_shape
@every_gradient
def test_weights_in_float32(shape: tuple[int, ...], gradient: str) -> None:
    value, upstream = sample(shape)
    plain = reference.quantize_weights(nested(value), nested(upstream), gradient)
    found, by_value = run(
        make(XNORWeight, "weight", 1, value.float(), gradient=gradient), value.float(), upstream.float()
    )
    close(found, plain.values, 2e-6)  # a mean of at most 30 terms, each rounded to 6e-8
    close(by_value, plain.gradients, 2e-6)


class OneScale(XNORWeight):
    """The mean over the whole layer, as in DoReFa."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        return codes._replace(scale=codes.scale.mean().expand(codes.scale.shape))


class SignOfZero(XNORWeight):
    """torch's own sign."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        return codes._replace(code=torch.where(value == 0, 0.0, codes.code))


class OnlyTheMask(XNORWeight):
    """No 1/n in the gradient."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value.detach())
        inside = (value.abs() < 1).to(value.dtype)
        return codes._replace(code=codes.code + (value - value.detach()) * inside)


class ScaleOnce(XNORWeight):
    """The gradient of the weight, where the codes' is wanted: A too often."""

    def _codes(self, value: torch.Tensor) -> Codes:
        scale = super()._codes(value).scale
        return super()._codes(value.detach() + (value - value.detach()) * scale)


@pytest.mark.parametrize("mutant", [OneScale, SignOfZero, OnlyTheMask, ScaleOnce])
def test_the_check_fails_for_a_wrong_one(mutant: type[XNORWeight]) -> None:
    with pytest.raises(AssertionError):
        check(mutant)


def test_weights_equal_brevitas_forward() -> None:
    pytest.importorskip("brevitas")
    value = sample(SHAPES[0])[0].float()
    scales = value.abs().mean((1, 2, 3), keepdim=True)
    expected = brevitas("binary.BinaryQuant", scales)(value)[0]
    assert torch.equal(make(XNORWeight, "weight", 1, value)(value).value, expected)


class TestWeightsByHand:
    weight = torch.tensor([[-1.5, 0.5, 0.0, -2.0], [0.25, 0.25, -0.25, 0.25]], dtype=torch.float64)

    def test_values_and_gradients(self) -> None:
        upstream = torch.tensor([[8.0, 8.0, 8.0, 8.0], [-8.0, 8.0, 16.0, 0.0]], dtype=torch.float64)
        found, by_weight = run(make(XNORWeight, "weight", 1, self.weight), self.weight, upstream)
        assert found.tolist() == [[-1, 1, 1, -1], [0.25, 0.25, -0.25, 0.25]]
        # 1/4 everywhere, and A = 1 or 1/4 where |w| < 1.
        assert by_weight.tolist() == [[2, 10, 10, 2], [-4, 4, 8, 0]]

    def test_as_in_the_released_code(self) -> None:
        quantizer = make(XNORWeight, "weight", 1, self.weight, gradient="code")
        _, by_weight = run(quantizer, self.weight, torch.full((2, 4), 8.0, dtype=torch.float64))
        # Times 4 weights in a filter, and times 1 - 1/4.
        assert by_weight.tolist() == [[6, 30, 30, 6], [12, 12, 12, 12]]


class TestConstrain:
    @every_shape
    def test_centres_and_then_clips(self, shape: tuple[int, ...]) -> None:
        weight = 2 + sample(shape)[0]
        expected = reference.constrain(nested(weight))
        held = weight
        make(XNORWeight, "weight", 1, weight).constrain_weight(weight)
        assert weight is held
        close(weight, expected, 1e-12)  # double precision, a mean of at most 20
        assert weight.abs().max() == 1

    def test_by_hand(self) -> None:
        # Two input channels, a kernel of two: means over channels 2 and 0.
        weight = torch.tensor([[[[3.5, 0.25]], [[0.5, -0.25]]]])
        make(XNORWeight, "weight", 1, weight).constrain_weight(weight)
        assert weight.tolist() == [[[[1, 0.25]], [[-1, -0.25]]]]  # clipped from 1.5 and -1.5

    def test_one_input_channel_keeps_its_values(self) -> None:
        weight = torch.tensor([[[[0.5, -3.0]]]])
        make(XNORWeight, "weight", 1, weight).constrain_weight(weight)
        assert weight.tolist() == [[[[0.5, -1]]]]

    def test_calibration_and_codes_leave_the_weight_as_it_is(self) -> None:
        weight = 2 + sample(SHAPES[0])[0]
        before = weight.clone()
        make(XNORWeight, "weight", 1, weight)(weight)
        assert torch.equal(weight, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_equal_the_plain_loop(dtype: torch.dtype) -> None:
    value, upstream = sample(SHAPES[0])
    codes, gradients = reference.quantize_activations(value.flatten().tolist(), upstream.flatten().tolist())
    quantizer = make(XNORActivation, "activation", 1, value.to(dtype))
    assert (quantizer.qmin, quantizer.qmax, quantizer.signed) == (-1, 1, True)
    found, by_value = run(quantizer, value.to(dtype), upstream.to(dtype))
    # Exact: factors of 1, and numbers that float32 holds.
    same(found, codes)
    same(by_value, gradients)


def test_degenerate_values() -> None:
    for gradient in ("paper", "code"):
        check_degenerate(XNORWeight, "weight", 1, gradient=gradient)
    check_degenerate(XNORActivation, "activation", 1)


def test_a_filter_of_zeros_has_no_part_in_the_others() -> None:
    value, upstream = sample(SHAPES[0])
    value[2] = 0.0
    found, by_value = run(make(XNORWeight, "weight", 1, value), value, upstream)
    assert 0 < found[2].min() and found[2].max() < 1e-9
    close(by_value[2], upstream[2] / 30, 1e-9)  # 1/n is left of the factor, and the smallest scale of 1e-12


def test_what_is_not_a_number_stays_visible() -> None:
    value, bad = torch.ones(1, 2), torch.tensor([[math.nan, 1.0]])
    assert make(XNORActivation, "activation", 1, value)(bad).value.isnan().tolist() == [[True, False]]
    assert make(XNORWeight, "weight", 1, value)(bad).value.isnan()[0, 0]


def test_compiles_to_one_graph() -> None:
    value, upstream = sample(SHAPES[0])
    check_compiled(make(XNORWeight, "weight", 1, value, gradient="code"), value, upstream)
    check_compiled(make(XNORActivation, "activation", 1, value), value, upstream)
