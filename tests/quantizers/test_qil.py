"""QIL against a plain loop, autograd of the transformer, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import DEGENERATE_NUMBERS, case, same
from tests.references import qil as reference
from tune_qat.quantization.model import constrain
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.qil import DISTANCE_MIN, GAMMA_MIN, QILActivation, QILWeight

DOUBLE = torch.float64
WEIGHT_BITS, ACTIVATION_BITS = (2, 3, 4, 5, 8), (1, 2, 3, 4, 8)
GRIDS = [(bits, True) for bits in WEIGHT_BITS] + [(bits, False) for bits in ACTIVATION_BITS]
by_grid = pytest.mark.parametrize(("bits", "signed"), GRIDS)
INTERVALS = [(0.9, 0.6), (0.7, 0.7), (1.3, 0.05)]
Quantizer = QILWeight | QILActivation


def make(
    bits: int, signed: bool, c: float = 0.9, d: float = 0.6, gamma: float | None = None, cls: Any = QILWeight
) -> Quantizer:
    """A double-precision quantizer with this interval, of `cls` if signed; gamma is learned where a number is given."""
    of: dict[str, Any] = {"bits": bits, "kind": "weight" if signed else "activation", "name": "layer"}
    learns = "fixed" if gamma is None else "learned"
    quantizer: Quantizer = cls(**of, gamma=learns) if signed else QILActivation(**of)
    quantizer.double().calibrate(torch.ones(2, dtype=DOUBLE))
    fill(quantizer, c, d, gamma)
    return quantizer


@torch.no_grad()
def fill(quantizer: Quantizer, c: float, d: float, gamma: float | None = None) -> None:
    quantizer.centre.fill_(c)
    quantizer.distance.fill_(d)
    if gamma is not None:
        assert quantizer.gamma is not None
        quantizer.gamma.fill_(gamma)


def run(quantizer: Quantizer, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Codes, and the gradients of `sum(upstream * value)` by input, centre, distance and, where learned, gamma."""
    value = value.clone().requires_grad_()
    codes = quantizer(value)
    assert codes.offset is None and not codes.scale.requires_grad and codes.scale.shape == ()
    gradients = torch.autograd.grad((upstream * codes.code * codes.scale).sum(), (value, *quantizer.parameters()))
    return [codes.code.detach(), *gradients]


def expected(quantizer: Quantizer, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """The same of the reference, in double precision."""
    signed = isinstance(quantizer, QILWeight)
    gamma = 1.0 if quantizer.gamma is None else quantizer.gamma.item()
    plain = reference.quantize(
        value.tolist(),
        c=quantizer.centre.item(),
        d=quantizer.distance.item(),
        gamma=gamma,
        q=2 ** (quantizer.bits - 1) - 1 if signed else 2**quantizer.bits - 1,
        signed=signed,
        upstream=upstream.tolist(),
    )
    results = [plain.codes, plain.grad_values, plain.grad_centre, plain.grad_distance, plain.grad_gamma]
    return [torch.tensor(result, dtype=DOUBLE) for result in results[: 4 if quantizer.gamma is None else 5]]


def sample(bits: int, signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Values with many pruned and many clipped, zeros among them, and upstream gradients."""
    draw = torch.Generator().manual_seed(10 * bits + signed)
    value, upstream = torch.randn((2, 1_000), generator=draw, dtype=DOUBLE)
    value[:2] = 0
    return (value * 1.2 if signed else value.abs() * 1.2), upstream


def check(
    bits: int, signed: bool, c: float = 0.9, d: float = 0.6, gamma: float | None = None, cls: Any = QILWeight
) -> None:
    """Codes and all gradients, in double precision."""
    quantizer = make(bits, signed, c, d, gamma, cls)
    value, upstream = sample(bits, signed)
    found, wanted = run(quantizer, value, upstream), expected(quantizer, value, upstream)
    same(found[0], wanted[0])
    # Double precision: 1,000 terms, each of them the place in the interval (known to a few roundings of c / d) to a
    # power.
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-12 * max(1, c / d), atol=1e-12)
    size = float((wanted[1] * upstream.sign()).abs().sum()) + 1
    for one, other in zip(found[2:], wanted[2:], strict=True):
        assert one.shape == ()
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * size)


@by_grid
@pytest.mark.parametrize(("c", "d"), INTERVALS)
def test_equals_the_plain_loop(bits: int, signed: bool, c: float, d: float) -> None:
    check(bits, signed, c, d)


@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize(("c", "d"), INTERVALS)
def test_equals_the_plain_loop_with_gamma(bits: int, c: float, d: float) -> None:
    for gamma in (0.5, 1.0, 2.7):
        check(bits, True, c, d, gamma)


@by_grid
@pytest.mark.parametrize("gamma", [None, 0.7, 2.0])
def test_in_single_precision(bits: int, signed: bool, gamma: float | None) -> None:
    quantizer = make(bits, signed, 0.9, 0.6, gamma if signed else None).float()
    value, upstream = (tensor.float() for tensor in sample(bits, signed))
    place = (value.abs().double() - 0.3) / 1.2
    # The curve is steep without bound just above the pruned end.
    value, upstream, place = (tensor[(place < -1e-3) | (place > 1e-3)] for tensor in (value, upstream, place))
    found, wanted = run(quantizer, value, upstream), expected(quantizer, value, upstream)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    transformed = place.clamp(0, 1) ** (gamma if signed and gamma else 1) * quantizer.qmax
    # Four roundings of 6e-8, of up to 127 or 255 steps, and more by the power where it is below 1.
    apart = ((transformed - transformed.floor()) - 0.5).abs() > 1e-6 * quantizer.qmax
    assert apart.double().mean() > 0.99
    assert torch.equal(found[0].double()[apart], wanted[0][apart])
    # Of places above 1e-3, known to 2e-7 of the interval: 2e-4 of the place itself, times gamma - 1 of a slope.
    torch.testing.assert_close(found[1].double(), wanted[1], rtol=3e-4, atol=1e-6)
    for one, other in zip(found[2:], wanted[2:], strict=True):
        # Most terms are known far better than that; sums of 1,000 lose about as much as a term.
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-6 * float(wanted[1].abs().sum()))


@pytest.mark.parametrize(("signed", "gamma"), [(True, None), (True, 0.6), (True, 2.3), (False, None)])
def test_gradients_are_those_of_the_transformer(signed: bool, gamma: float | None) -> None:
    value, upstream = sample(4, signed)
    quantizer = make(4, signed, gamma=gamma)
    parameters = [p.detach().clone().requires_grad_() for p in quantizer.parameters()]
    value = value.requires_grad_()
    power = parameters[2] if gamma is not None else 1.0
    out = reference.transform(value, parameters[0], parameters[1], power, signed=signed)
    wanted = torch.autograd.grad((upstream * out).sum(), (value, *parameters))
    size = float(wanted[0].detach().abs().sum())
    for one, other in zip(run(quantizer, value.detach(), upstream)[1:], wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14 * size)  # double precision, sums of 1,000


@pytest.mark.parametrize("signed", [True, False])
def test_gradcheck_of_the_transformer_away_from_its_ends(signed: bool) -> None:
    size = torch.tensor([0.0, 0.1, 0.35, 0.6, 0.9, 1.2, 1.45, 1.6, 3.0], dtype=DOUBLE)
    value = (torch.cat([size, -size[1:]]) if signed else size).requires_grad_()
    c, d, gamma = (torch.tensor(p, dtype=DOUBLE, requires_grad=True) for p in (0.9, 0.6, 1.7))

    def transform(*inputs: torch.Tensor) -> torch.Tensor:
        v, centre, distance, power = inputs
        return reference.transform(v, centre, distance, power, signed=signed)

    assert torch.autograd.gradcheck(transform, (value, c, d, gamma))


class _Wrong(torch.autograd.Function):
    """The transformer written once more, with one thing wrong."""

    @staticmethod
    def forward(
        ctx: Any, w: torch.Tensor, c: torch.Tensor, d: torch.Tensor, gamma: torch.Tensor, q: int, wrong: str
    ) -> torch.Tensor:
        ctx.save_for_backward(w, c, d, gamma)
        ctx.q, ctx.wrong = q, wrong
        size = w if wrong == "value in place of size" else w.abs()
        base = ((size - c + d) / (2 * d)).clamp(0, 1)
        if wrong == "clipped is not pruned":
            base = torch.where(size < c - d, 1.0, base)
        code = (base**gamma * q).round() if wrong != "power after rounding" else (base * q).round() ** gamma
        return code * w.sign()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        w, c, d, gamma = ctx.saved_tensors
        wrong, size, sign = ctx.wrong, w.abs(), w.sign()
        base = ((size - c + d) / (2 * d)).clamp(1e-6, 1)
        inside = (size >= c - d) & (size < c + d)
        g = grads[0] * (1 if wrong == "not masked" else inside) * (1 if wrong == "scale left in" else ctx.q)
        slope = 0.5 / d * (1 if wrong == "slope without gamma" else gamma * base ** (gamma - 1))
        by_d = 0.5 / d * sign if wrong == "distance as the centre" else slope * (c - size) / d * sign
        by_c = slope if wrong == "sign of the weight forgotten" else slope * sign
        by_gamma = base**gamma * (base if wrong == "logarithm forgotten" else base.log()) * sign
        return g * slope, -(g * by_c).sum(), (g * by_d).sum(), (g * by_gamma).sum(), None, None


def mutant(wrong: str) -> type[QILWeight]:
    class Mutant(QILWeight):
        def _codes(self, value: torch.Tensor) -> Codes:
            code = _Wrong.apply(value, self.centre, self.distance, self.gamma, self.qmax, wrong)
            size = 2 * self.distance.detach() if wrong == "brought back to the input's size" else 1
            return Codes(code, value.new_full((), 1 / self.qmax) * size)

    return Mutant


@pytest.mark.parametrize(
    "wrong",
    [
        "value in place of size",
        "clipped is not pruned",
        "power after rounding",
        "not masked",
        "scale left in",
        "slope without gamma",
        "distance as the centre",
        "sign of the weight forgotten",
        "logarithm forgotten",
        "brought back to the input's size",
    ],
)
def test_the_check_fails_for_a_wrong_method(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(4, True, gamma=2.3, cls=mutant(wrong))


def test_the_check_passes_for_the_mutant_without_its_mistake() -> None:
    check(4, True, gamma=2.3, cls=mutant("nothing"))


class TestByHand:
    """c = 0.5, d = 0.25: alpha = 2, beta = -0.5, so that 0.4375 goes to 0.375; all of it is exact in binary."""

    def test_a_weight(self) -> None:
        for sign in (1, -1):
            found = run(make(3, True, 0.5, 0.25), *one(sign * 0.4375))  # q = 3, 0.375 q = 1.125
            assert [tensor.item() for tensor in found] == [sign, 2, -2 * sign, 0.5 * sign]

    def test_a_weight_with_gamma(self) -> None:
        found = run(make(2, True, 0.5, 0.25, gamma=2.0), *one(-0.4375))  # q = 1, 0.375^2 = 0.140625
        wanted = [0, 1.5, 1.5, -0.375, -0.140625 * math.log(0.375)]
        assert [tensor.item() for tensor in found] == pytest.approx(wanted, rel=1e-14)  # powers of double

    def test_an_activation(self) -> None:
        found = run(make(2, False, 0.5, 0.25), *one(0.4375))
        assert [tensor.item() for tensor in found] == [1, 2, -2, 0.5]
        found = run(make(1, False, 0.5, 0.25), *one(0.625))  # 0.75
        assert [tensor.item() for tensor in found] == [1, 2, -2, -1]

    @pytest.mark.parametrize("gamma", [None, 0.5])
    def test_ends_of_a_weight(self, gamma: float | None) -> None:
        value = torch.tensor([-2, -0.75, -0.25, -0.2, 0, 0.2, 0.25, 0.75, 2], dtype=DOUBLE)
        found = run(make(3, True, 0.5, 0.25, gamma), value, torch.ones_like(value))
        assert found[0].tolist() == [-3, -3, 0, 0, 0, 0, 0, 3, 3]
        # With the power, the slope at the lower end is that at the floor: 0.5 x 1e-6^-0.5 x 2.
        slope = 2 if gamma is None else 1000
        assert found[1].tolist() == pytest.approx([0, 0, slope, 0, 0, 0, slope, 0, 0], rel=1e-12)

    def test_ends_of_an_activation(self) -> None:
        value = torch.tensor([-2, 0, 0.25, 0.26, 0.74, 0.75, 2], dtype=DOUBLE)
        found = run(make(2, False, 0.5, 0.25), value, torch.ones_like(value))
        assert found[0].tolist() == [0, 0, 0, 0, 3, 3, 3]
        assert found[1].tolist() == [0, 0, 0, 2, 2, 0, 0]

    def test_a_weight_of_0_can_move_and_a_zero_of_relu_does_not_count(self) -> None:
        assert [t.item() for t in run(make(3, True, 0.5, 0.5), *one(0.0))] == [0, 1, 0, 0]
        assert [t.item() for t in run(make(3, False, 0.5, 0.5), *one(0.0))] == [0, 0, 0, 0]

    @pytest.mark.parametrize("bits", WEIGHT_BITS)
    def test_a_half_and_a_half_is_a_clip_to_1(self, bits: int) -> None:
        value, q = torch.linspace(-1.5, 1.5, 301, dtype=DOUBLE), 2 ** (bits - 1) - 1
        value = value[((value * q - (value * q).floor()) - 0.5).abs() > 1e-9]
        codes = make(bits, True, 0.5, 0.5)(value)
        assert torch.equal(codes.code, (value.clamp(-1, 1) * q).round())
        torch.testing.assert_close(codes.value, (value.clamp(-1, 1) * q).round() / q, rtol=1e-15, atol=0)  # 1 rounding

    @by_grid
    def test_inside_the_interval_every_value_has_its_gradient(self, bits: int, signed: bool) -> None:
        value = 0.3 + 1.2 * (torch.arange(1, 10_000, dtype=DOUBLE) / 10_000)
        assert (run(make(bits, signed), value, torch.ones_like(value))[1] > 0.8).all()  # 0.5 / 0.6


def one(value: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([value], dtype=DOUBLE), torch.ones(1, dtype=DOUBLE)


class TestParameters:
    @by_grid
    def test_bounds_and_scale(self, bits: int, signed: bool) -> None:
        quantizer = make(bits, signed)
        q = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        assert (quantizer.signed, quantizer.qmin, quantizer.qmax) == (signed, -q if signed else 0, q)
        assert quantizer.step_init == pytest.approx(1 / q, rel=1e-15)

    @pytest.mark.parametrize("signed", [True, False])
    def test_calibration_takes_half_the_largest_size(self, signed: bool) -> None:
        quantizer = make(3, signed, gamma=0.3 if signed else None)
        centre = quantizer.centre
        quantizer.calibrate(torch.tensor([0.5, -3.0, 2.0]))
        assert quantizer.centre is centre and centre.item() == quantizer.distance.item() == 1.5
        assert quantizer.gamma is None if not signed else quantizer.gamma is not None and quantizer.gamma.item() == 1
        quantizer.calibrate(torch.zeros(3))
        assert centre.item() == quantizer.distance.item() == pytest.approx(DISTANCE_MIN, rel=1e-6)  # float32

    @pytest.mark.parametrize(
        ("bits", "gamma", "learned"),
        [(2, "auto", True), (3, "auto", False), (2, "fixed", False), (2, "learned", True), (8, "learned", True)],
    )
    def test_gamma_is_a_parameter_where_it_is_learned(self, bits: int, gamma: str, learned: bool) -> None:
        quantizer = QILWeight(bits=bits, kind="weight", name="layer", gamma=gamma)
        assert [name for name, _ in quantizer.named_parameters()] == ["centre", "distance", "gamma"][
            : 3 if learned else 2
        ]

    def test_state_comes_back(self) -> None:
        quantizer, other = make(2, True, gamma=1.5), QILWeight(bits=2, kind="weight", name="layer").double()
        other.load_state_dict(quantizer.state_dict())
        value, upstream = sample(2, True)
        for found, wanted in zip(run(other, value, upstream), run(quantizer, value, upstream), strict=True):
            assert torch.equal(found, wanted)

    def test_clipped(self) -> None:
        value = torch.tensor([-1.6, -1.5, 0.2, 0.3, 1.5, 1.6], dtype=DOUBLE)
        below, above = make(3, True, 1.0, 0.5).clipped(value)
        assert below.tolist() == [True, *[False] * 5] and above.tolist() == [*[False] * 5, True]
        below, above = make(3, False, 1.0, 0.5).clipped(value)
        assert below.tolist() == [True, True, True, True, False, False] and above.tolist() == [*[False] * 5, True]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((1.0, 0.5, 0.7), (1.0, 0.5, 0.7)),
            ((1.0, 1.5, 0.0), (1.0, 1.0, GAMMA_MIN)),
            ((1.0, -1.0, -2.0), (1.0, DISTANCE_MIN, GAMMA_MIN)),
            ((-1.0, 0.5, 9.0), (DISTANCE_MIN, DISTANCE_MIN, 9.0)),
        ],
    )
    def test_constrain(self, before: tuple[float, float, float], after: tuple[float, ...]) -> None:
        quantizer = make(2, True, *before)
        constrain([quantizer.constrain])
        assert [p.item() for p in quantizer.parameters()] == pytest.approx(after, rel=1e-15)


@pytest.mark.parametrize(
    ("bits", "signed", "gamma"), [(2, True, 1.0), (2, True, 0.01), (8, True, None), (1, False, None)]
)
def test_degenerate_values_give_finite_results(bits: int, signed: bool, gamma: float | None) -> None:
    for numbers in DEGENERATE_NUMBERS:
        with case(numbers):
            quantizer, value = make(bits, signed, gamma=gamma).float(), torch.tensor(numbers)
            quantizer.calibrate(value)
            fill(quantizer, quantizer.centre.item(), quantizer.distance.item(), gamma)
            codes = quantizer(value)
            assert 0 < codes.scale < math.inf
            largest = value.abs() > 1e-3 if signed else value > 1e-3
            assert torch.equal(codes.code.abs(), quantizer.qmax * largest.float()) or gamma == 0.01
            assert all(tensor.isfinite().all() for tensor in run(quantizer, value, torch.ones_like(value)))


@pytest.mark.parametrize(("signed", "gamma"), [(True, None), (True, 0.5), (False, None)])
def test_not_finite_values_stay_visible(signed: bool, gamma: float | None) -> None:
    quantizer = make(2, signed, gamma=gamma)
    value = torch.tensor([math.nan, math.inf, -math.inf], dtype=DOUBLE)
    codes = quantizer(value).code
    assert codes.isnan().tolist() == [True, False, False]
    assert codes[1:].tolist() == [quantizer.qmax, quantizer.qmin]
    assert all(tensor.isfinite().all() for tensor in run(quantizer, value[1:], torch.ones(2, dtype=DOUBLE)))


@pytest.mark.parametrize(("signed", "gamma"), [(True, 0.5), (False, None)])
def test_compiles_as_one_graph(signed: bool, gamma: float | None) -> None:
    quantizer = make(3, signed, gamma=gamma)
    value, upstream = sample(3, signed)
    wanted = run(quantizer, value, upstream)
    quantizer.compile(fullgraph=True, backend="aot_eager")
    for found, other in zip(run(quantizer, value, upstream), wanted, strict=True):
        assert torch.equal(found, other)
