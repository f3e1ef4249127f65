"""QNN against a plain loop, torch's and brevitas' operators, and numbers worked out by hand."""

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
from tests.references import qnn as reference
from tune_qat.quantizers.binary import straight_through
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.qnn import QNN

BITS = range(1, 9)
every_bits = pytest.mark.parametrize("bits", BITS)
every_kind = pytest.mark.parametrize("kind", ["weight", "activation"])


def sample(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A third of them clipped; also both ends, their neighbours, and zeros of both signs, where one bit has a tie."""
    value, upstream = drawn((20, 30), seed=bits)
    beyond = 1 + 2**-20  # a float32
    value[0, :8] = torch.tensor([-1, 1, -beyond, beyond, 0.0, -0.0, 1 - 2**-20, 2**-20 - 1], dtype=torch.float64)
    return value, upstream


def check(build: Any, bits: int, kind: str = "weight") -> None:
    value, upstream = sample(bits)
    plain = reference.quantize(value.flatten().tolist(), bits, upstream.flatten().tolist())
    quantizer = make(build, kind, bits, value)
    same(quantizer(value).code, plain.codes)
    found, by_value = run(quantizer, value, upstream)
    close(found, plain.values, 1e-12)  # double precision, values of order 1
    close(by_value, plain.gradients, 1e-12)  # multiplied and divided by the same scale
    assert by_value[0, :4].ne(0).tolist() == [True, True, False, False], "the ends pass the gradient"


@every_bits
@every_kind
def test_equals_the_plain_loop(bits: int, kind: str) -> None:
    check(QNN, bits, kind)


@every_bits
def test_in_float32(bits: int) -> None:
    value, upstream = sample(bits)
    plain = reference.quantize(value.flatten().tolist(), bits, upstream.flatten().tolist())
    kept = away_from_ties(plain.ratios) if bits > 1 else torch.ones(value.numel(), dtype=torch.bool)
    found, by_value = run(make(QNN, "weight", bits, value.float()), value.float(), upstream.float())
    # A few roundings of 6e-8 each of values up to 2.
    close(found.flatten()[kept], torch.tensor(plain.values, dtype=torch.float64)[kept], 5e-7)
    close(by_value, plain.gradients, 5e-7)


class Strict(QNN):
    """The ends of the range do not pass the gradient."""

    def _codes(self, value: torch.Tensor) -> Codes:
        inside = torch.where(value.abs() < 1, value, value.detach())
        return super()._codes(inside)


class Unmasked(QNN):
    """The gradient passes everywhere."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value.detach())
        return codes._replace(code=straight_through(value, codes.code, codes.scale))


class ZeroAsCode(QNN):
    """torch's own sign, or a grid with a value at 0."""

    def _codes(self, value: torch.Tensor) -> Codes:
        codes = super()._codes(value)
        return codes._replace(code=torch.where(value == 0, 0 * value, codes.code))


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("mutant", [Strict, Unmasked, ZeroAsCode])
def test_the_check_fails_for_a_wrong_one(mutant: type[QNN], bits: int) -> None:
    with pytest.raises(AssertionError):
        check(mutant, bits)


class TestByHand:
    def test_two_bits(self) -> None:
        value = torch.tensor([[-3, -1, -0.7, -0.6, -0.1, 0, 0.6, 0.7, 1, 3]], dtype=torch.float64)
        codes = make(QNN, "activation", 2, value)(value)
        # Ratios 1.5 (x + 1): 0.45, 0.6, 1.35, 1.5 (to even), 2.4, 2.55 from the third on.
        assert codes.code.tolist() == [[0, 0, 0, 1, 1, 2, 2, 3, 3, 3]]
        assert codes.offset is not None and codes.offset.item() == -1 and codes.offset.shape == ()
        close(codes.value, [-1, -1, -1, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 1, 1, 1], 1e-15)  # the last digit

    def test_one_bit(self) -> None:
        value = torch.tensor([[-0.2, 0.0, 7.0]])
        codes = make(QNN, "activation", 1, value)(value)
        assert codes.code.tolist() == [[-1, 1, 1]] and codes.scale.item() == 1 and codes.offset is None

    @every_kind
    def test_bounds(self, kind: str) -> None:
        value = torch.ones(1, 1)
        grids = [(q.qmin, q.qmax, q.signed) for q in (make(QNN, kind, bits, value) for bits in (1, 2, 8))]
        assert grids == [(-1, 1, True), (0, 3, False), (0, 255, False)]


def test_one_bit_equals_brevitas() -> None:
    pytest.importorskip("brevitas")
    value, upstream = sample(1)
    value, upstream = value.float(), upstream.float()
    leaf = value.clone().requires_grad_()
    expected = brevitas("binary.ClampedBinaryQuant", 1.0)(leaf)[0]
    (by_value,) = torch.autograd.grad((upstream * expected).sum(), leaf)
    found = run(make(QNN, "activation", 1, value), value, upstream)
    assert torch.equal(found[0], expected) and torch.equal(found[1], by_value)  # exact: factors of 1


@pytest.mark.parametrize("bits", BITS[1:])
def test_equals_torchs_operator_on_values_moved_by_one(bits: int) -> None:
    value, upstream = sample(bits)
    last = 2**bits - 1
    ratio = (value + 1) / 2 * last
    # In the half step beyond the range the operator, which rounds first, passes the gradient still.
    half_bin = ((value.abs() - 1) * last / 2 > 0) & ((value.abs() - 1) * last / 2 < 0.5001)
    kept = away_from_ties(ratio.flatten().tolist()).reshape(ratio.shape) & ~half_bin
    assert kept.double().mean() > 0.6
    value, upstream = value[kept][None].float(), upstream[kept][None].float()
    leaf = value.clone().requires_grad_()
    expected = torch.fake_quantize_per_tensor_affine(leaf + 1, 2 / last, 0, 0, last) - 1
    (by_value,) = torch.autograd.grad((upstream * expected).sum(), leaf)
    found = run(make(QNN, "activation", bits, value), value, upstream)
    close(found[0], expected.detach(), 5e-7)  # float32: a few roundings of values up to 2
    close(found[1], by_value, 5e-7)


def test_weights_are_clipped_and_those_on_an_end_can_leave_it() -> None:
    weight = torch.tensor([[-2.0, -0.5, 1.5]])
    quantizer = make(QNN, "weight", 4, weight)
    clipped = quantizer.clipped(weight)
    assert clipped is not None
    low, high = clipped
    assert low.tolist() == [[True, False, False]] and high.tolist() == [[False, False, True]]
    quantizer.constrain_weight(weight)
    assert weight.tolist() == [[-1, -0.5, 1]]
    _, by_weight = run(quantizer, weight, torch.ones_like(weight))
    close(by_weight, [1, 1, 1], 5e-7)  # float32


@every_bits
@every_kind
def test_degenerate_values(bits: int, kind: str) -> None:
    check_degenerate(QNN, kind, bits)


@every_bits
def test_what_is_not_a_number_stays_visible(bits: int) -> None:
    value = torch.zeros(1, 2)
    quantizer = make(QNN, "activation", bits, value)
    assert quantizer(torch.tensor([[math.nan, 1.0]])).value.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("bits", [1, 4])
def test_compiles_to_one_graph(bits: int) -> None:
    value, upstream = sample(bits)
    check_compiled(make(QNN, "activation", bits, value), value, upstream)
