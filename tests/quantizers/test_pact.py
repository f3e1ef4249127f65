"""PACT against a plain loop, torch's own operator, the paper's formula under autograd, and numbers by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import DEGENERATE_NUMBERS, same
from tests.references import pact as reference
from tune_qat.quantization.model import constrain
from tune_qat.quantizers import uniform
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.pact import ALPHA_MIN, PACT

DOUBLE = torch.float64
BITS = (1, 2, 3, 4, 8)
by_bits = pytest.mark.parametrize("bits", BITS)


def make(bits: int, alpha: float = 1.3, cls: type[PACT] = PACT) -> PACT:
    """A double-precision quantizer with this alpha."""
    quantizer = cls(bits=bits, kind="activation", name="layer", alpha_init=alpha).double()
    quantizer.calibrate(torch.ones((1, 2), dtype=DOUBLE))
    assert quantizer.alpha.item() == alpha
    return quantizer


def run(quantizer: PACT, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Codes, dequantized value, and the gradients of `sum(upstream * value)` by input and alpha."""
    value = value.clone().requires_grad_()
    codes = quantizer(value)
    assert codes.offset is None and not codes.scale.requires_grad and codes.scale.shape == ()
    gradients = torch.autograd.grad((upstream * codes.code * codes.scale).sum(), (value, quantizer.alpha))
    return [codes.code.detach(), codes.value, *gradients]


def sample(bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of 20 x 50 values, half of them below 0 and about a tenth above 1.3, and upstream gradients."""
    draw = torch.Generator().manual_seed(bits)
    value, upstream = torch.randn((2, 20, 50), generator=draw, dtype=DOUBLE)
    value[0, :4] = torch.tensor([0.0, -0.0, 100.0, -100.0])
    assert (value > 1.3).double().mean() > 0.05 and (value < 0).double().mean() > 0.4
    return value, upstream


def check(bits: int, alpha: float = 1.3, cls: type[PACT] = PACT) -> None:
    """Codes, values and both gradients, in double precision."""
    value, upstream = sample(bits)
    found = run(make(bits, alpha, cls), value, upstream)
    plain = reference.quantize(value.flatten().tolist(), alpha, bits=bits, upstream=upstream.flatten().tolist())
    same(found[0], plain.codes)
    close(found[1].flatten(), plain.values, 1e-12)  # double: two roundings
    close(found[2].flatten(), plain.grad_values, 1e-12)  # times the scale and divided by it
    assert found[3].shape == ()
    close(found[3], plain.grad_alpha, 1e-12 * (1 + plain.size_alpha))  # a sum in another order


def close(actual: torch.Tensor, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=0, atol=tolerance)


@by_bits
@pytest.mark.parametrize("alpha", [0.01, 0.7, 1.3, 10.0])
def test_equals_the_plain_loop(bits: int, alpha: float) -> None:
    check(bits, alpha)


@by_bits
def test_in_single_precision(bits: int) -> None:
    value, upstream = (tensor.float() for tensor in sample(bits))
    quantizer = make(bits).float()
    alpha, q = quantizer.alpha.item(), 2**bits - 1
    ratio = value.double() * q / alpha
    # Three roundings of 6e-8, of up to 255 steps; elsewhere the nearest code is the same one.
    kept = (((ratio - ratio.floor()) - 0.5).abs() > 1e-6 * q) & ((ratio - q).abs() > 1e-6 * q)
    assert kept.double().mean() > 0.99
    value, upstream = value[kept], upstream[kept]
    found = run(quantizer, value, upstream)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    plain = reference.quantize(value.tolist(), alpha, bits=bits, upstream=upstream.tolist())
    same(found[0], plain.codes)
    close(found[1], plain.values, 1e-6)  # float32, values up to 1.3
    close(found[2], plain.grad_values, 2e-6)  # float32: two products, of up to 4
    close(found[3], plain.grad_alpha, 1e-6 * plain.size_alpha)  # float32: each term rounded a few times


@by_bits
def test_gradients_are_those_of_the_papers_formula(bits: int) -> None:
    value, upstream = sample(bits)
    value, upstream = value[value != 0], upstream[value != 0]
    v, alpha = value.clone().requires_grad_(), torch.tensor(1.3, dtype=DOUBLE, requires_grad=True)
    out = reference.quantize_by_autograd(v, alpha, bits=bits)
    wanted = [out.detach(), *torch.autograd.grad((upstream * out).sum(), (v, alpha))]
    # Double: 0.5 (|x| - |x - alpha| + alpha) is a difference of numbers of up to 100, and there are 1,000 of them.
    for one, other in zip(run(make(bits), value, upstream)[1:], wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_gradcheck_of_the_formula_away_from_its_ends() -> None:
    value = torch.tensor([-2.0, -0.1, 0.1, 0.6, 1.2, 1.4, 5.0], dtype=DOUBLE, requires_grad=True)
    alpha = torch.tensor(1.3, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(reference.clip, (value, alpha))


@by_bits
def test_equals_torchs_operator(bits: int) -> None:
    value, upstream = (tensor.float() for tensor in sample(bits))
    quantizer, q = make(bits).float(), 2**bits - 1
    scale = quantizer.alpha.item() / q
    ratio = value.double() / scale
    # The operator multiplies by 1 / scale, which rounds twice; and it rounds first, so that the values within half a
    # step beyond the range have a gradient there.
    apart = ((ratio - ratio.floor()) - 0.5).abs() > 1e-6 * q
    half_bin = ((ratio > -0.5001) & (ratio <= 0)) | ((ratio > q - 1e-4) & (ratio < q + 0.5001))
    value, upstream = value[apart & ~half_bin], upstream[apart & ~half_bin]
    assert len(value) > 500
    v = value.clone().requires_grad_()
    out = torch.fake_quantize_per_tensor_affine(v, scale, 0, 0, q)
    (by_value,) = torch.autograd.grad((upstream * out).sum(), v)
    found = run(quantizer, value, upstream)
    torch.testing.assert_close(found[1], out.detach(), rtol=1e-6, atol=1e-6)  # float32
    torch.testing.assert_close(found[2], by_value, rtol=1e-6, atol=1e-6)  # float32


class TestByHand:
    """Two bits and alpha = 0.75, so that a step is 0.25 and all of it exact in binary."""

    @pytest.mark.parametrize(
        ("value", "code", "mask", "by_alpha"),
        [
            (-1.0, 0, 0, 0),
            (-0.01, 0, 0, 0),
            (0.0, 0, 0, 0),  # as the 0 of a ReLU
            (0.1, 0, 1, 0),  # LSQ's step would have a part of the rounding
            (0.2, 1, 1, 0),
            (0.125, 0, 1, 0),  # ties go to the even code, as torch rounds
            (0.375, 2, 1, 0),
            (0.74, 3, 1, 0),
            (0.75, 3, 0, 1),
            (0.8, 3, 0, 1),
            (1e20, 3, 0, 1),
        ],
    )
    def test_two_bits(self, value: float, code: int, mask: int, by_alpha: int) -> None:
        found = run(make(2, 0.75), torch.tensor([value], dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
        # By alpha: 3 codes of a third of a gradient.
        assert [tensor.item() for tensor in found] == pytest.approx([code, code / 4, mask, by_alpha], rel=1e-15)

    def test_of_one_bit_is_a_threshold_at_half_of_alpha(self) -> None:
        value = torch.tensor([-1.0, 0.4, 0.49, 0.51, 0.99, 1.0, 3.0], dtype=DOUBLE)
        found = run(make(1, 1.0), value, torch.ones_like(value))
        assert found[1].tolist() == [0, 0, 0, 1, 1, 1, 1] and found[2].tolist() == [0, 1, 1, 1, 1, 0, 0]
        assert found[3].item() == 2


def test_alphas_gradient_does_not_hang_on_the_batch_or_the_features() -> None:
    value, upstream = sample(4)
    quantizer = make(4)
    one = run(quantizer, value, upstream)[3]
    for again in (torch.cat([value, value]), torch.cat([value, value], 1)):
        two = run(quantizer, again, torch.cat([upstream, upstream], 0 if len(again) > 20 else 1))[3]
        assert two.item() == pytest.approx(2 * one.item(), rel=1e-12)  # double


def mutant(wrong: str) -> type[PACT]:
    """The method with one thing wrong."""

    class Mutant(PACT):
        def _codes(self, value: torch.Tensor) -> Codes:
            levels = self.qmax + 1 if wrong == "2^b in place of 2^b - 1" else self.qmax
            alpha = 2 * self.alpha if wrong == "step twice as large" else self.alpha
            step = alpha / levels
            lowest = -self.qmax if wrong == "values below 0 kept" else 0
            code = uniform.codes(
                value,
                step,
                lowest,
                self.qmax,
                rounding_slope=wrong == "rounding in alpha's gradient, as LSQ",
                gradient_scale=1 / math.sqrt(value[0].numel()) if wrong == "gradient scaled, as LSQ" else 1,
                round_first=wrong == "rounded before it is clipped",
            )
            if wrong == "gradient of the codes, not of the values":
                code = code * step.detach() + (code * (1 - step)).detach()
            return Codes(code, step.detach())

    return Mutant


@pytest.mark.parametrize(
    "wrong",
    [
        "2^b in place of 2^b - 1",
        "step twice as large",
        "values below 0 kept",
        "rounding in alpha's gradient, as LSQ",
        "gradient scaled, as LSQ",
        "rounded before it is clipped",
        "gradient of the codes, not of the values",
    ],
)
def test_the_check_fails_for_a_wrong_method(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(2, cls=mutant(wrong))


def test_the_check_passes_for_the_mutant_without_its_mistake() -> None:
    check(2, cls=mutant("nothing"))


class TestAlpha:
    @by_bits
    def test_bounds_are_unsigned_whatever_the_values(self, bits: int) -> None:
        quantizer = make(bits)
        quantizer.calibrate(-torch.ones((2, 2)))
        assert (quantizer.signed, quantizer.qmin, quantizer.qmax) == (False, 0, 2**bits - 1)
        assert quantizer.step_init == pytest.approx(1.3 / (2**bits - 1), rel=1e-15)  # double

    def test_starts_at_the_option(self) -> None:
        default = PACT(bits=4, kind="activation", name="layer")
        assert default.alpha.item() == 10
        for numbers in ([0.0], [3.0, 1e20], [-5.0]):
            default.calibrate(torch.tensor(numbers))
            assert default.alpha.item() == 10

    def test_is_the_one_parameter_and_weight_decay_is_for_it(self) -> None:
        quantizer = make(4)
        assert [name for name, _ in quantizer.named_parameters()] == ["alpha"] and quantizer.decayed == ("alpha",)

    @pytest.mark.parametrize(("before", "after"), [(-0.3, ALPHA_MIN), (0.0, ALPHA_MIN), (1e-9, ALPHA_MIN), (0.3, 0.3)])
    def test_constrain_keeps_it_positive(self, before: float, after: float) -> None:
        quantizer = make(8)
        with torch.no_grad():
            quantizer.alpha.fill_(before)
        constrain([quantizer.constrain])
        assert quantizer.alpha.item() == after > 0

    def test_the_smallest_can_come_back(self) -> None:
        # From everything clipped, one step of gradient descent against too small values makes it larger.
        quantizer = make(8, ALPHA_MIN).float()
        value = torch.linspace(0.1, 1, 10)[None]
        found = run(quantizer, value, 2 * (quantizer(value).value - value))
        assert found[3] < -1 and found[1].unique().item() == pytest.approx(ALPHA_MIN, rel=1e-6)  # float32

    def test_clipped(self) -> None:
        below, above = make(2, 0.75).clipped(torch.tensor([-0.1, 0.0, 0.75, 0.76], dtype=DOUBLE))
        assert below.tolist() == [True, False, False, False] and above.tolist() == [False, False, False, True]

    def test_state_comes_back(self) -> None:
        quantizer, other = make(3, 0.7), PACT(bits=3, kind="activation", name="layer").double()
        other.load_state_dict(quantizer.state_dict())
        for found, wanted in zip(run(other, *sample(3)), run(quantizer, *sample(3)), strict=True):
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("alpha", [ALPHA_MIN, 10.0, 1e20])
def test_degenerate_values_give_finite_results(bits: int, alpha: float) -> None:
    for numbers in DEGENERATE_NUMBERS:
        quantizer = PACT(bits=bits, kind="activation", name="layer", alpha_init=alpha)
        value = torch.tensor(numbers)
        quantizer.calibrate(value)
        assert 0 < quantizer(value).scale < math.inf, numbers
        assert all(tensor.isfinite().all() for tensor in run(quantizer, value, torch.ones_like(value))), numbers


def test_not_finite_values_stay_visible() -> None:
    codes = make(2)(torch.tensor([math.nan, math.inf, -math.inf], dtype=DOUBLE)).code
    assert codes.isnan().tolist() == [True, False, False] and codes[1:].tolist() == [3, 0]


def test_compiles_as_one_graph() -> None:
    quantizer = make(3)
    wanted = run(quantizer, *sample(3))
    quantizer.compile(fullgraph=True, backend="aot_eager")
    for found, other in zip(run(quantizer, *sample(3)), wanted, strict=True):
        assert torch.equal(found, other)
