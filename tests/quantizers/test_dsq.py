"""DSQ against a plain loop, autograd of the soft function, torch's operator, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import DEGENERATE_NUMBERS, case, same
from tests.references import dsq as reference
from tests.references.lsq import dequantized_layer
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import constrain
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.dsq import ALPHA_MAX, ALPHA_MIN, DSQ, RANGE_MIN

BITS = (1, 2, 3, 4, 8)
by_bits = pytest.mark.parametrize("bits", BITS)
ALPHAS = (ALPHA_MIN, 0.05, 0.2, ALPHA_MAX)
by_alpha = pytest.mark.parametrize("alpha", ALPHAS)
DOUBLE = torch.float64


def make(bits: int, lower: float, upper: float, alpha: float = 0.2, cls: type[DSQ] = DSQ, **options: Any) -> DSQ:
    quantizer = cls(**{"bits": bits, "kind": "activation", "name": "layer", **options}).to(DOUBLE)
    quantizer.calibrate(torch.tensor([lower, upper], dtype=DOUBLE))
    with torch.no_grad():
        quantizer.alpha.fill_(alpha)
    return quantizer


def run(quantizer: DSQ, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Codes, and the gradients of `sum(upstream * value)` by input, lower, upper and alpha."""
    value = value.clone().requires_grad_()
    codes = quantizer(value)
    assert codes.offset is not None and not codes.offset.requires_grad and not codes.scale.requires_grad
    dequantized = codes.code * codes.scale + codes.offset
    inputs = (value, quantizer.lower, quantizer.upper, quantizer.alpha)
    return [codes.code.detach(), *torch.autograd.grad((upstream * dequantized).sum(), inputs)]


def expected(quantizer: DSQ, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """The same of the reference, in double precision."""
    parameters = [p.detach().double().requires_grad_() for p in (quantizer.lower, quantizer.upper, quantizer.alpha)]
    value = value.double().requires_grad_()
    lower, upper, _ = (float(p.detach()) for p in parameters)
    codes = torch.tensor(reference.hard(value.detach().tolist(), lower, upper, quantizer.bits), dtype=DOUBLE)
    soft = reference.soft(value, *parameters, bits=quantizer.bits)
    return [codes, *torch.autograd.grad((upstream.double() * soft).sum(), (value, *parameters))]


def sample(bits: int, lower: float, upper: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Values of which a tenth lies beyond each end and one at each end, and upstream gradients."""
    draw = torch.Generator().manual_seed(bits)
    span = upper - lower
    value = lower - span / 8 + span * 1.25 * torch.rand(1_000, generator=draw, dtype=DOUBLE)
    value[0], value[1] = lower, upper
    return value, torch.randn(value.shape, generator=draw, dtype=DOUBLE)


def check(cls: type[DSQ] = DSQ, bits: int = 3, lower: float = -1.1, upper: float = 2.3, alpha: float = 0.2) -> None:
    """Codes and all gradients, in double precision."""
    quantizer = make(bits, lower, upper, alpha, cls)
    value, upstream = sample(bits, lower, upper)
    found, wanted = run(quantizer, value, upstream), expected(quantizer, value, upstream)
    same(found[0], wanted[0])
    # The place in the range, up to 2^bits, is known to a few roundings of 1e-16 (of the middle too, which is up to 5
    # times as large as the range), and the derivative of the slope by it is at most 0.4 K^2, K < 8.
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-12, atol=2e-14 * 2**bits)
    for one, other in zip(found[2:], wanted[2:], strict=True):
        assert one.shape == ()
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * float(upstream.abs().sum()))


@by_bits
@pytest.mark.parametrize(("lower", "upper"), [(-1.1, 2.3), (0.0, 1.0), (0.7, 0.9), (-30.0, -2.0)])
def test_equals_the_plain_loop_and_autograd_of_the_soft_function(bits: int, lower: float, upper: float) -> None:
    for alpha in ALPHAS:
        check(DSQ, bits, lower, upper, alpha)


@by_bits
@by_alpha
def test_in_single_precision(bits: int, alpha: float) -> None:
    quantizer = make(bits, -1.1, 2.3, alpha).float()
    value, upstream = (tensor.float() for tensor in sample(bits, -1.1, 2.3))
    value[0], value[1] = quantizer.lower.detach(), quantizer.upper.detach()
    found, wanted = run(quantizer, value, upstream), expected(quantizer, value, upstream)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    ratio = (value.double() + 1.1) / 3.4 * (2**bits - 1)
    # The place is known to about three roundings of 6e-8 of up to 2^bits.
    place = 2e-7 * 2**bits
    apart = ((ratio - ratio.floor()) - 0.5).abs() > place
    assert torch.equal(found[0].double()[apart], wanted[0][apart])
    # The derivative of the slope by the place is at most 0.4 K^2, K < 8.
    tolerance = 1e-6 + 25 * place
    torch.testing.assert_close(found[1].double(), wanted[1], rtol=1e-6, atol=tolerance * float(upstream.abs().max()))
    for one, other in zip(found[2:], wanted[2:], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * float(upstream.abs().sum()))


class _Wrong(torch.autograd.Function):
    """The closed form written once more, with one thing wrong."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, alpha: torch.Tensor, n: int, wrong: str
    ) -> torch.Tensor:
        ctx.save_for_backward(x, lower, upper, alpha)
        ctx.n, ctx.wrong = n, wrong
        ratio = ((x - lower) / (upper - lower) * n).clamp(0, n)
        return ratio.floor() if wrong == "floor" else (ratio + 0.5).floor()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, lower, upper, alpha = ctx.saved_tensors
        n, wrong = ctx.n, ctx.wrong
        delta = (upper - lower) / n
        ratio = ((x - lower) / delta).clamp(0, n)
        i = ratio.floor().clamp(max=n - 1)
        f, s, k = ratio - i - 0.5, 1 / (1 - alpha), torch.log(2 / alpha - 1)
        t = torch.tanh(k * f)
        slope = s * k / 2 * (1 - t**2)
        by_delta = i + (s * t + 1) / 2 - slope * (f if wrong == "middle held still" else ratio)
        by_alpha = s**2 * t / 2 - (0 if wrong == "sharpness by alpha forgotten" else 1) * s * f * (1 - t**2) / (
            alpha * (2 - alpha)
        )
        inside = (x >= lower) & (x <= upper)
        above = 0 * x if wrong == "clipped values forgotten" else (x > upper).double()
        g = grads[0] if wrong == "scale left in" else grads[0] / delta
        by_upper = torch.where(inside, by_delta / n, above)
        by_lower = torch.where(inside, 1 - slope - (-1 if wrong == "sign of Delta" else 1) * by_delta / n, x < lower)
        by_value = slope * (1 if wrong == "value not masked" else inside)
        by_alpha = by_alpha * inside * (1 if wrong == "alpha without Delta" else delta)
        return g * by_value, (g * by_lower).sum(), (g * by_upper).sum(), (g * by_alpha).sum(), None, None


def mutant(wrong: str) -> type[DSQ]:
    class Mutant(DSQ):
        def _codes(self, value: torch.Tensor) -> Codes:
            code = _Wrong.apply(value, self.lower, self.upper, self.alpha, self.qmax, wrong)
            return Codes(code, ((self.upper - self.lower) / self.qmax).detach(), self.lower.detach())

    return Mutant


@pytest.mark.parametrize(
    "wrong",
    [
        "floor",
        "middle held still",
        "sharpness by alpha forgotten",
        "clipped values forgotten",
        "scale left in",
        "sign of Delta",
        "value not masked",
        "alpha without Delta",
    ],
)
def test_the_check_fails_for_a_wrong_method(wrong: str) -> None:
    # At this alpha the slope at an interval's end is far from that half an interval on.
    with pytest.raises(AssertionError):
        check(mutant(wrong), alpha=0.05)


def test_the_check_passes_for_the_mutant_without_its_mistake() -> None:
    check(mutant("nothing"), alpha=0.05)


class TestByHand:
    """alpha = 0.2: S = 1.25 and K = ln 9, so that tanh is a half at a quarter of an interval from its middle."""

    def test_a_quarter_above_the_middle(self) -> None:
        found = run(make(2, 0.0, 3.0), torch.tensor([1.75], dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
        slope = 0.5 * 1.25 * math.log(9) * 0.75
        by_upper = (1.8125 - 1.75 * slope) / 3
        by_alpha = 0.5 * (0.5 * 1.25**2 - 1.25 * 0.25 * 0.75 / 0.18)  # -25 / 96
        assert by_alpha == pytest.approx(-25 / 96, rel=1e-12)
        wanted = [2, slope, 1 - slope - by_upper, by_upper, by_alpha]
        assert [tensor.item() for tensor in found] == pytest.approx(wanted, rel=1e-12)  # last digits of double

    def test_the_middle_of_one_bit_belongs_to_the_upper_level(self) -> None:
        found = run(make(1, -1.0, 1.0), torch.tensor([0.0], dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
        slope = 0.5 * 1.25 * math.log(9)
        wanted = [1, slope, (1 - slope) / 2, (1 - slope) / 2, 0]
        assert [tensor.item() for tensor in found] == pytest.approx(wanted, rel=1e-12, abs=1e-15)

    def test_ties_go_up_and_ends_are_inside(self) -> None:
        # Steps of a quarter: everything is exact.
        values = [-1.5, -1.0, -0.875, -0.8750001, -0.625, -0.375, -0.25, 1.0]
        value = torch.tensor(values, dtype=DOUBLE)
        found = run(make(2, -1.0, -0.25), value, torch.ones_like(value))
        assert found[0].tolist() == [0, 0, 1, 0, 2, 3, 3, 3] == reference.hard(values, -1.0, -0.25, 2)
        assert (found[1] != 0).tolist() == [False, *[True] * 6, False]

    def test_just_below_a_tie_goes_down(self) -> None:
        # Adding a half would round this one up.
        value = torch.tensor([0.5 - 2**-54], dtype=DOUBLE)
        assert run(make(2, 0.0, 3.0), value, torch.ones_like(value))[0].tolist() == [0]


class TestSoftFunction:
    def test_gradcheck_away_from_borders(self) -> None:
        lower, upper, alpha = (torch.tensor(p, dtype=DOUBLE, requires_grad=True) for p in (-1.0, 0.75, 0.2))
        x = -1 + 0.25 * (torch.arange(7, dtype=DOUBLE)[:, None] + torch.tensor([0.1, 0.4, 0.8])).flatten()
        x = torch.cat([x, torch.tensor([-2.0, 2.0], dtype=DOUBLE)]).requires_grad_()
        assert torch.autograd.gradcheck(lambda *inputs: reference.soft(*inputs, bits=3), (x, lower, upper, alpha))

    def test_loop_and_composition_are_the_same(self) -> None:
        value, _ = sample(3, -1.1, 2.3)
        loop = torch.tensor(reference.soft_values(value.tolist(), -1.1, 2.3, 0.2, 3), dtype=DOUBLE)
        parameters = (torch.tensor(p, dtype=DOUBLE) for p in (-1.1, 2.3, 0.2))
        torch.testing.assert_close(reference.soft(value, *parameters, bits=3), loop, rtol=1e-12, atol=1e-14)

    @by_alpha
    def test_slope_is_1_on_average_over_an_interval(self, alpha: float) -> None:
        value = (torch.arange(10_000, dtype=DOUBLE) + 0.5) / 10_000 + 1
        slope = run(make(2, 0.0, 3.0, alpha), value, torch.ones_like(value))[1]
        assert slope.mean().item() == pytest.approx(1, abs=1e-6)  # midpoint rule: K^3 / 24 of 1e-8

    def test_a_small_alpha_is_the_hard_quantizer(self) -> None:
        # Away from the middles, where tanh is 1 - 2 exp(-2 K / 10) of S.
        value = torch.cat([torch.linspace(i, i + 0.4, 9) for i in range(3)]).double()
        alpha = 1e-12
        soft = reference.soft_values(value.tolist(), 0.0, 3.0, alpha, 2)
        assert soft == pytest.approx(reference.hard(value.tolist(), 0.0, 3.0, 2), abs=2 * (alpha / 2) ** 0.2)


@by_bits
def test_forward_is_that_of_the_operator(bits: int) -> None:
    # The operator wants an integer at 0, and rounds halves to even.
    step, zero = 0.25, 2 ** (bits - 1)
    value = torch.randn(5_000, generator=torch.Generator().manual_seed(1)) * 2**bits / 8
    apart = ((value / step - (value / step).floor()) - 0.5).abs() > 1e-4
    quantizer = make(bits, -zero * step, (2**bits - 1 - zero) * step).float()
    wanted = torch.fake_quantize_per_tensor_affine(value, step, zero, 0, 2**bits - 1)
    assert torch.equal(quantizer(value).value[apart], wanted[apart])


def double(quantizer: DSQ) -> list[torch.Tensor]:
    return [p.detach().double().requires_grad_() for p in (quantizer.lower, quantizer.upper, quantizer.alpha)]


@pytest.mark.parametrize("hidden", [False, True], ids=["data", "hidden"])
def test_a_layer_is_that_of_dequantized_operands(hidden: bool) -> None:
    torch.manual_seed(3)
    convolution = torch.nn.Conv2d(3, 4, 3).double()
    inputs, weight = DSQ(bits=4, kind="activation", name="layer"), DSQ(bits=3, kind="weight", name="layer")
    layer = QuantizedLayer(convolution, name="layer", index=0, weight=weight, inputs=inputs).double()
    layer.calibrating = True
    x = torch.randn(2, 3, 6, 6, dtype=DOUBLE)
    layer(x)
    x = (1.2 * x).requires_grad_(hidden)
    output = layer(x)
    upstream = torch.randn_like(output)
    of = (convolution.weight, *inputs.parameters(), *weight.parameters(), *([x] if hidden else []))
    found = torch.autograd.grad((upstream * output).sum(), of)
    of_inputs, of_weight = double(inputs), double(weight)
    w = convolution.weight.detach().clone().requires_grad_()
    plain = dequantized_layer(
        convolution,
        reference.hard_with_soft_gradient(x, *of_inputs, bits=4),
        reference.hard_with_soft_gradient(w, *of_weight, bits=3),
    )
    of = (w, *of_inputs, *of_weight, *([x] if hidden else []))
    wanted = torch.autograd.grad((upstream * plain).sum(), of)
    torch.testing.assert_close(output, plain, rtol=1e-12, atol=1e-12)  # sums of 27 terms of order 1
    for one, other in zip(found, wanted, strict=True):
        # Sums of up to 3,500 terms of order 1, in another order, of an offset's product and the codes'.
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


class TestParameters:
    @pytest.mark.parametrize("kind", ["weight", "activation"])
    def test_calibration_takes_the_range(self, kind: str) -> None:
        quantizer = make(2, -1.0, 2.0, kind=kind, alpha=0.3, alpha_init=0.4)
        assert (quantizer.signed, quantizer.qmin, quantizer.qmax) == (False, 0, 3)
        assert (quantizer.lower.item(), quantizer.upper.item(), quantizer.step_init) == (-1.0, 2.0, 1.0)
        lower = quantizer.lower
        quantizer.calibrate(torch.tensor([3.0, 4.5]))
        assert quantizer.lower is lower and (lower.item(), quantizer.upper.item()) == (3.0, 4.5)
        assert quantizer.alpha.item() == pytest.approx(0.4, rel=1e-6)  # made in float32

    def test_state_comes_back(self) -> None:
        quantizer, other = make(2, -1.0, 2.0, kind="weight"), DSQ(bits=2, kind="weight", name="layer").double()
        other.load_state_dict(quantizer.state_dict())
        assert other.calibrated and not other.signed and other.upper.item() == 2.0

    def test_clipped(self) -> None:
        below, above = make(2, -1.0, 2.0).clipped(torch.tensor([-1.5, -1.0, 0.0, 2.0, 2.5], dtype=DOUBLE))
        assert below.tolist() == [True, *[False] * 4] and above.tolist() == [*[False] * 4, True]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((1.0, 2.0, 0.2), (1.0, 2.0, 0.2)),
            ((0.0, -3.0, 0.9), (0.0, RANGE_MIN, ALPHA_MAX)),
            ((-0.5, -0.5, -1.0), (-0.5, -0.5 + RANGE_MIN, ALPHA_MIN)),
            ((1e20, 0.0, 0.2), (1e20, 1e20 + 1e14, 0.2)),
        ],
    )
    def test_constrain(self, before: tuple[float, ...], after: tuple[float, ...]) -> None:
        quantizer = make(2, 0.0, 1.0).float()
        with torch.no_grad():
            for parameter, number in zip(quantizer.parameters(), before, strict=True):
                parameter.fill_(number)
        constrain([quantizer.constrain])
        assert [p.item() for p in quantizer.parameters()] == pytest.approx(after, rel=2e-7)  # float32
        assert quantizer.upper > quantizer.lower


@pytest.mark.parametrize("kind", ["weight", "activation"])
@pytest.mark.parametrize("bits", [1, 8])
def test_degenerate_values_give_finite_results(kind: str, bits: int) -> None:
    for numbers in DEGENERATE_NUMBERS:
        with case(numbers):
            quantizer, value = DSQ(bits=bits, kind=kind, name="layer"), torch.tensor(numbers)
            quantizer.calibrate(value)
            codes = quantizer(value)
            assert codes.scale.shape == () and 0 < codes.scale < math.inf
            assert ((codes.code >= 0) & (codes.code <= quantizer.qmax) & (codes.code == codes.code.round())).all()
            torch.testing.assert_close(codes.value, value, rtol=1e-6, atol=1e-6)  # each has a level of its own
            assert all(tensor.isfinite().all() for tensor in run(quantizer, value, torch.ones_like(value)))


def test_not_finite_values_stay_visible() -> None:
    quantizer = make(2, 0.0, 3.0)
    value = torch.tensor([math.nan, math.inf, -math.inf], dtype=DOUBLE)
    assert str(quantizer(value).code.tolist()) == "[nan, 3.0, 0.0]"
    assert all(tensor.isfinite().all() for tensor in run(quantizer, value[1:], torch.ones(2, dtype=DOUBLE)))


def test_compiles_as_one_graph() -> None:
    quantizer = make(3, -1.1, 2.3)
    value, upstream = sample(3, -1.1, 2.3)
    wanted = run(quantizer, value, upstream)
    quantizer.compile(fullgraph=True, backend="aot_eager")
    for one, other in zip(run(quantizer, value, upstream), wanted, strict=True):
        assert torch.equal(one, other)
