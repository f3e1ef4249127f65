"""DoReFa against a plain loop, autograd, torch's and brevitas' operators, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import (
    away_from_ties,
    brevitas,
    check_compiled,
    check_degenerate,
    close,
    drawn,
    make,
    run,
    same,
)
from tests.references import dorefa as reference
from tune_qat.quantizers import uniform
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.dorefa import DoReFaActivation, DoReFaWeight, mapped

BITS = range(1, 9)
every_bits = pytest.mark.parametrize("bits", BITS)
more_bits = pytest.mark.parametrize("bits", BITS[1:])
every_max = pytest.mark.parametrize("detach_max", [False, True], ids=["max", "detached max"])


def weights(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """600 weights whose largest is negative, and a zero."""
    value, upstream = drawn((20, 5, 3, 2), seed=bits)
    value = (0.5 * value).float().double()
    value[3, 1], value[4, 0, 0, 0] = -value[3, 1].abs(), 0.0
    value[3, 1, 0, 0] = -2.0
    return value, upstream


def activations(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """MethodSide of them below 0, several above 1, and some on the ends."""
    value, upstream = drawn((20, 30), seed=bits)
    value[0, :3] = torch.tensor([0, 1, -0.0], dtype=torch.float64)
    return value, upstream


def check(build: Any, bits: int, *, detach_max: bool = False) -> None:
    value, upstream = weights(bits)
    plain = reference.quantize_weights(
        value.flatten().tolist(), bits, upstream.flatten().tolist(), detach_max=detach_max
    )
    quantizer = make(build, "weight", bits, value, detach_max=detach_max)
    same(quantizer(value).code, plain.codes)
    found, by_value = run(quantizer, value, upstream)
    close(found, plain.values, 1e-12)  # double precision, values of order 1
    close(by_value, plain.gradients, 1e-12)  # a sum of 600 terms of order 1


@every_bits
@every_max
def test_weights_equal_the_plain_loop(bits: int, detach_max: bool) -> None:
    check(DoReFaWeight, bits, detach_max=detach_max)


@every_bits
@every_max
def test_weights_in_float32(bits: int, detach_max: bool) -> None:
    value, upstream = weights(bits)
    plain = reference.quantize_weights(
        value.flatten().tolist(), bits, upstream.flatten().tolist(), detach_max=detach_max
    )
    kept = away_from_ties(plain.ratios) if bits > 1 else torch.ones(value.numel(), dtype=torch.bool)
    quantizer = make(DoReFaWeight, "weight", bits, value.float(), detach_max=detach_max)
    found, by_value = run(quantizer, value.float(), upstream.float())
    close(found.flatten()[kept], torch.tensor(plain.values, dtype=torch.float64)[kept], 5e-7)  # a few roundings
    close(by_value, plain.gradients, 1e-5)  # a sum of 600 terms of order 1, each rounded to 6e-8


class StrictEnds(DoReFaWeight):
    """The uniform operation, which is strict: the largest weight passes no gradient."""

    def _codes(self, value: torch.Tensor) -> Codes:
        if self.bits == 1:
            return super()._codes(torch.where(value.abs() == value.abs().max(), value.detach(), value))
        step = value.new_full((), 1 / self.qmax)
        code = uniform.codes(mapped(value, detach_max=self._detach_max), step, 0, self.qmax)
        return super()._codes(value)._replace(code=code)


class MaxDetached(DoReFaWeight):
    def _codes(self, value: torch.Tensor) -> Codes:
        self._detach_max = True
        return super()._codes(value)


class Halved(DoReFaWeight):
    """The gradient of the values in [0, 1], not of those in [-1, 1]."""

    def _codes(self, value: torch.Tensor) -> Codes:
        return super()._codes(value.detach() + (value - value.detach()) / 2)


class GradientTimesScale(DoReFaWeight):
    """As where the scale is left in the gradient of the sign."""

    def _codes(self, value: torch.Tensor) -> Codes:
        scale = super()._codes(value).scale
        return super()._codes(value.detach() + (value - value.detach()) * scale)


@pytest.mark.parametrize("mutant", [StrictEnds, MaxDetached, Halved, GradientTimesScale])
def test_the_check_fails_for_a_wrong_one(mutant: type[DoReFaWeight]) -> None:
    # By a maximum that is no constant the largest weight is mapped to an end whatever it is: no gradient anyway.
    with pytest.raises(AssertionError):
        check(mutant, 2, detach_max=mutant is StrictEnds)
    if mutant is not MaxDetached:  # there is no such maximum in one bit
        with pytest.raises(AssertionError):
            check(mutant, 1)


@more_bits
@every_max
def test_weights_equal_the_composition_under_autograd(bits: int, detach_max: bool) -> None:
    value, upstream = weights(bits)
    leaf, last = value.clone().requires_grad_(), 2**bits - 1
    squashed = torch.tanh(leaf)
    largest = squashed.abs().max()
    unit = squashed / (largest.detach() if detach_max else largest) * 0.5 + 0.5
    ratio = unit * last
    composed = 2 * (ratio + (ratio.round() - ratio).detach()) / last - 1
    (expected,) = torch.autograd.grad((upstream * composed).sum(), leaf)
    found, by_value = run(make(DoReFaWeight, "weight", bits, value, detach_max=detach_max), value, upstream)
    close(found, composed.detach(), 1e-12)  # double precision
    close(by_value, expected, 1e-12)  # a sum of 600 terms of order 1


@pytest.mark.parametrize("detach_max", [False, True])
def test_the_mapping_is_what_it_is_differentiated_as(detach_max: bool) -> None:
    value = (0.7 * drawn((3, 4), seed=0)[0]).requires_grad_()
    if not detach_max:
        assert torch.autograd.gradcheck(mapped, value)
        return
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):  # with its maximum a constant it is another one's
        torch.autograd.gradcheck(lambda given: mapped(given, detach_max=True), value)


@more_bits
def test_weights_equal_torchs_operator(bits: int) -> None:
    value, _ = weights(bits)
    last = 2**bits - 1
    unit = value.tanh() / (2 * value.tanh().abs().max()) + 0.5
    kept = away_from_ties((unit * last).flatten().tolist())
    expected = 2 * torch.fake_quantize_per_tensor_affine(unit.float(), 1 / last, 0, 0, last) - 1
    found = make(DoReFaWeight, "weight", bits, value.float())(value.float()).value
    close(found.flatten()[kept], expected.flatten()[kept], 5e-7)  # float32: a few roundings


def test_one_bit_equals_brevitas_forward() -> None:
    pytest.importorskip("brevitas")
    value = weights(1)[0].float()
    expected = brevitas("binary.BinaryQuant", float(value.abs().mean()))(value)[0]
    assert torch.equal(make(DoReFaWeight, "weight", 1, value)(value).value, expected)


class TestWeightsByHand:
    def test_two_bits_have_no_zero(self) -> None:
        # tanh is t: mapped to 0, 1/8, 1/2 + 1/8, 1 of the range, times 3: 0, 0.375, 1.875, 3.
        value = torch.tensor([[-0.8, -0.6, 0.2, 0.8]], dtype=torch.float64).atanh()
        codes = make(DoReFaWeight, "weight", 2, value)(value)
        assert codes.code.tolist() == [[0, 0, 2, 3]]
        close(codes.value, [-1, -1, 1 / 3, 1], 1e-15)  # the last digit
        assert codes.offset is not None and codes.offset.item() == -1 and not codes.offset.requires_grad

    def test_one_bit(self) -> None:
        value = torch.tensor([[-1.0, 0.0], [0.25, 0.75]], dtype=torch.float64)
        quantizer = make(DoReFaWeight, "weight", 1, value)
        upstream = torch.tensor([[3.0, 5.0], [7.0, 9.0]], dtype=torch.float64)
        found, by_value = run(quantizer, value, upstream)
        assert found.tolist() == [[-0.5, 0.5], [0.5, 0.5]] and torch.equal(by_value, upstream)

    def test_one_weight_is_its_own_maximum(self) -> None:
        value = torch.tensor([[-0.3]], dtype=torch.float64)
        assert run(make(DoReFaWeight, "weight", 4, value), value, torch.ones_like(value))[1].abs().item() < 1e-15
        detached = make(DoReFaWeight, "weight", 4, value, detach_max=True)
        by_value = run(detached, value, torch.ones_like(value))[1].item()
        t = math.tanh(0.3)
        assert by_value == pytest.approx((1 - t * t) / t, rel=1e-12)  # double precision

    def test_equal_maxima_share_the_gradient(self) -> None:
        value = torch.tensor([[-0.5, 0.5, 0.5]], dtype=torch.float64)
        _, by_value = run(make(DoReFaWeight, "weight", 2, value), value, torch.tensor([[1.0, 0.0, 0.0]]).double())
        # g / m to the first; the maximum gets -sum(g t) / m^2 = 1 / m, a third each with the sign of t.
        slope = (1 - math.tanh(0.5) ** 2) / math.tanh(0.5)
        close(by_value, [slope * (1 - 1 / 3), slope / 3, slope / 3], 1e-12)  # double precision

    def test_zeros_have_a_gradient_of_ordinary_size(self) -> None:
        value = torch.zeros(2, 3, dtype=torch.float64)
        _, by_value = run(make(DoReFaWeight, "weight", 2, value), value, torch.ones_like(value))
        close(by_value, torch.ones(2, 3), 1e-12)  # double precision


def check_activations(build: Any, bits: int) -> None:
    value, upstream = activations(bits)
    plain = reference.quantize_activations(value.flatten().tolist(), bits, upstream.flatten().tolist())
    quantizer = make(build, "activation", bits, value)
    codes = quantizer(value)
    same(codes.code, plain.codes)
    assert (quantizer.qmin, quantizer.qmax, quantizer.signed) == (0, 2**bits - 1, False) and codes.offset is None
    found, by_value = run(quantizer, value, upstream)
    close(found, plain.values, 1e-12)  # double precision, values of order 1
    close(by_value, plain.gradients, 1e-12)  # multiplied and divided by the same step


@every_bits
def test_activations_equal_the_plain_loop(bits: int) -> None:
    check_activations(DoReFaActivation, bits)


class Unclipped(DoReFaActivation):
    """No clip, as the formula of `quantize_k` alone would have it."""

    def _codes(self, value: torch.Tensor) -> Codes:
        step = value.new_full((), 1 / self.qmax)
        return Codes(uniform.codes(value, step, -(2**20), 2**20), step)


class OneTooMany(DoReFaActivation):
    """2^k for 2^k - 1 in the step."""

    def _codes(self, value: torch.Tensor) -> Codes:
        step = value.new_full((), 1 / (self.qmax + 1))
        return Codes(uniform.codes(value, step, 0, self.qmax), step)


@pytest.mark.parametrize("mutant", [Unclipped, OneTooMany])
def test_the_check_of_activations_fails_for_a_wrong_one(mutant: type[DoReFaActivation]) -> None:
    with pytest.raises(AssertionError):
        check_activations(mutant, 3)


@every_bits
def test_activations_equal_torchs_operator(bits: int) -> None:
    value, upstream = activations(bits)
    last = 2**bits - 1
    ratio = value * last
    # On the ends and in the half steps beyond them the operator, which rounds first, passes the gradient still.
    half_bin = ((ratio > -0.5001) & (ratio <= 0)) | ((ratio >= last) & (ratio < last + 0.5001))
    kept = away_from_ties(ratio.flatten().tolist()).reshape(ratio.shape) & ~half_bin
    assert kept.double().mean() > 0.5
    value, upstream = value[kept][None].float(), upstream[kept][None].float()
    leaf = value.clone().requires_grad_()
    expected = torch.fake_quantize_per_tensor_affine(leaf, 1 / last, 0, 0, last)
    (by_value,) = torch.autograd.grad((upstream * expected).sum(), leaf)
    found = run(make(DoReFaActivation, "activation", bits, value), value, upstream)
    close(found[0], expected.detach(), 5e-7)  # float32: a few roundings
    close(found[1], by_value, 5e-7)


def test_activations_by_hand() -> None:
    value = torch.tensor([[-2, 0, 0.1, 0.2, 0.6, 0.9, 1, 1.2]], dtype=torch.float64)
    quantizer = make(DoReFaActivation, "activation", 2, value)
    found, by_value = run(quantizer, value, torch.ones_like(value))
    close(found, [0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1], 1e-15)  # the last digit
    close(by_value, [0, 0, 1, 1, 1, 1, 0, 0], 1e-15)
    clipped = quantizer.clipped(value)
    assert clipped is not None
    low, high = clipped
    assert low.nonzero().tolist() == [[0, 0]] and high.nonzero().tolist() == [[0, 7]]


@every_bits
def test_degenerate_values(bits: int) -> None:
    check_degenerate(DoReFaWeight, "weight", bits)
    check_degenerate(DoReFaWeight, "weight", bits, detach_max=True)
    check_degenerate(DoReFaActivation, "activation", bits)


@pytest.mark.parametrize("bits", [1, 4])
def test_what_is_not_a_number_stays_visible(bits: int) -> None:
    value, bad = torch.ones(1, 2), torch.tensor([[math.nan, 1.0]])
    assert make(DoReFaActivation, "activation", bits, value)(bad).value.isnan().tolist() == [[True, False]]
    assert make(DoReFaWeight, "weight", bits, value)(bad).value.isnan()[0, 0]


@pytest.mark.parametrize("bits", [1, 4])
def test_compiles_to_one_graph(bits: int) -> None:
    value, upstream = weights(bits)
    check_compiled(make(DoReFaWeight, "weight", bits, value), value, upstream)
    check_compiled(make(DoReFaActivation, "activation", bits, value), value, upstream)
