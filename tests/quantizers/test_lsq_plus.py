"""LSQ+: rounding orders, ends of the range, brevitas, both asymmetric configurations, starts, state, compilation."""

import math
from itertools import product
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import DEGENERATE_NUMBERS, case, same
from tests.references import lsq_plus as reference
from tune_qat.config import STE_VARIANTS
from tune_qat.quantization.model import constrain
from tune_qat.quantizers import uniform
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.lsq import LSQ, STEP_MIN
from tune_qat.quantizers.lsq_plus import LSQPlusActivation, LSQPlusWeight

DOUBLE = torch.float64
CONFIGURATIONS = reference.CONFIGURATIONS
INITS = ("lsq_plus", "min_max", "lsq")
OFFSETS = ("learned", "minimum", "zero")
by_configuration = pytest.mark.parametrize("configuration", CONFIGURATIONS)
by_offset = pytest.mark.parametrize(
    ("configuration", "offset"),
    # A configuration without an offset is the same whatever is said of it: `test_state_comes_back`.
    [(one, offset) for one in CONFIGURATIONS for offset in OFFSETS[: 3 if reference.has_offset(one) else 1]],
)
Tensors = list[torch.Tensor]


def of(configuration: str, bits: int = 3, cls: Any = LSQPlusActivation, **options: Any) -> LSQPlusActivation:
    given: dict[str, Any] = {"ste": "clip_then_round", "init": "min_max", "activations": configuration} | options
    quantizer: LSQPlusActivation = cls(bits=bits, kind="activation", name="layer", **given).double()
    return quantizer


def make(configuration: str, bits: int = 3, step: float = 0.3, offset: float = -0.17, **options: Any) -> Any:
    quantizer = of(configuration, bits, **options)
    quantizer.calibrate(sample()[0])
    with torch.no_grad():
        quantizer.step.fill_(step)
        if quantizer.offset is not None:
            quantizer.offset.fill_(offset)
    return quantizer


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    """20 x 50 values, some beyond each end of every grid here, and upstream gradients."""
    return tuple(3 * torch.randn((2, 20, 50), generator=torch.Generator().manual_seed(3), dtype=DOUBLE))


def run(quantizer: Any, value: torch.Tensor, upstream: torch.Tensor) -> Tensors:
    """Codes, dequantized value, and gradients by input and parameters."""
    value = value.clone().requires_grad_()
    codes = quantizer(value)
    assert codes.scale.shape == () and not codes.scale.requires_grad
    assert codes.offset is None or not codes.offset.requires_grad
    parameters = list(quantizer.parameters())
    gradients = torch.autograd.grad((upstream * codes.code * codes.scale).sum(), (value, *parameters))
    return [codes.code.detach(), codes.value.detach(), *gradients]


def check(configuration: str, bits: int, ste: str, gradient: str = "scaled", cls: Any = LSQPlusActivation) -> None:
    n, p = reference.grid(configuration, bits)
    step = 8 / (p - n)
    offset = -3.1 - n * step if reference.has_offset(configuration) else 0.0
    quantizer = make(configuration, bits, step, offset, cls=cls, ste=ste, offset_gradient=gradient)
    value, upstream = sample()
    scale = 1 / math.sqrt(50 * p)
    plain = reference.quantize(
        value.flatten().tolist(),
        step,
        offset,
        low=n,
        high=p,
        upstream=upstream.flatten().tolist(),
        step_scale=scale,
        offset_scale=scale if gradient == "scaled" else 1,
        round_first=ste == "round_then_clip",
    )
    found = run(quantizer, value, upstream)
    same(found[0], plain.codes)
    near(found[1].flatten(), plain.values, 1e-12)
    near(found[2].flatten(), plain.grad_values, 1e-12)
    near(found[3], plain.grad_step, 1e-12 * plain.size_step)
    assert len(found) == (5 if reference.has_offset(configuration) else 4)
    if len(found) == 5:
        near(found[4], plain.grad_offset, 1e-12 * plain.size_offset)


def near(actual: torch.Tensor, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=0, atol=tolerance)


@by_configuration
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_equals_the_plain_loop(configuration: str, bits: int, ste: str) -> None:
    check(configuration, bits, ste)
    check(configuration, bits, ste, "unscaled")


@by_configuration
def test_equals_the_composition_under_autograd(configuration: str) -> None:
    n, p = reference.grid(configuration, 3)
    quantizer, (value, upstream) = make(configuration), sample()
    v, s = value.clone().requires_grad_(), torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    o = torch.tensor(-0.17 if reference.has_offset(configuration) else 0.0, dtype=DOUBLE, requires_grad=True)
    out = reference.quantize_by_autograd(v, s, o, low=n, high=p)
    wanted = torch.autograd.grad((upstream * out).sum(), (v, s, o))
    found = run(quantizer, value, upstream)
    near(found[1], out.detach(), 1e-12)
    near(found[2], wanted[0], 1e-12)
    for mine, other in zip(found[3:], wanted[1:], strict=False):
        near(mine * math.sqrt(50 * p), other, 1e-10)  # a difference of sums of 1,000 terms of up to 70


@by_configuration
def test_round_then_clip_is_brevitas(configuration: str) -> None:
    core = pytest.importorskip("brevitas.core.quant")
    function = pytest.importorskip("brevitas.core.function_wrapper")
    n, p = reference.grid(configuration, 3)
    theirs = core.IntQuant(narrow_range=False, signed=n < 0, input_view_impl=function.Identity())
    value, upstream = sample()
    v, s = value.clone().requires_grad_(), torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    o = torch.tensor(-0.17 if reference.has_offset(configuration) else 0.0, dtype=DOUBLE, requires_grad=True)
    out = theirs(s, -o / s, torch.tensor(3.0, dtype=DOUBLE), v)
    wanted = torch.autograd.grad((upstream * out).sum(), (v, s, o))
    found = run(make(configuration, ste="round_then_clip"), value, upstream)
    near(found[1], out.detach(), 1e-12)
    near(found[2], wanted[0], 1e-12)
    for mine, other in zip(found[3:], wanted[1:], strict=False):
        near(mine * math.sqrt(50 * p), other, 1e-9)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_configuration_3_is_4_gradients_too(bits: int, ste: str) -> None:
    value, upstream = sample()
    value = (value * 4096).round() / 4096  # with binary steps all of it is exact, so that ties agree too
    step, offset = 2.0 ** (1 - bits), 0.125
    signed = run(make("signed_asymmetric", bits, step, offset, ste=ste), value, upstream)
    unsigned = run(make("unsigned_asymmetric", bits, step, offset - 2 ** (bits - 1) * step, ste=ste), value, upstream)
    assert torch.equal(signed[1], unsigned[1]) and torch.equal(signed[2], unsigned[2])
    g3, g4 = (1 / math.sqrt(50 * (2**b - 1)) for b in (bits - 1, bits))
    near(signed[4] / g3, unsigned[4] / g4, 1e-9)
    # beta_4 = beta_3 - 2^(b - 1) s.
    near(signed[3] / g3, unsigned[3] / g4 - 2 ** (bits - 1) * unsigned[4] / g4, 1e-8)


def test_by_hand() -> None:
    # n = 0, p = 3, s = 1, beta = -0.5, one feature: g = 1 / sqrt(3).
    quantizer = make("unsigned_asymmetric", 2, 1.0, -0.5)
    for x, out, mask, by_step in [
        (-1.5, -0.5, 0, 0),
        (-0.5, -0.5, 0, 0),
        (-0.2, -0.5, 1, -0.3),
        (0.7, 0.5, 1, -0.2),
        (2.5, 2.5, 0, 3),
        (3.0, 2.5, 0, 3),
        (0.0, -0.5, 1, -0.5),
        (1.0, 1.5, 1, 0.5),
    ]:
        found = run(quantizer, torch.tensor([[x]], dtype=DOUBLE), torch.ones((1, 1), dtype=DOUBLE))
        wanted = [out, mask, by_step / math.sqrt(3), (1 - mask) / math.sqrt(3)]
        assert [t.item() for t in found[1:]] == pytest.approx(wanted, abs=1e-14), x


@by_offset
@pytest.mark.parametrize("init", INITS)
def test_degenerate(configuration: str, init: str, offset: str) -> None:
    for bits, numbers in product((2, 8), DEGENERATE_NUMBERS):
        with case(f"{bits} bits", numbers):
            quantizer = of(configuration, bits, init=init, offset=offset).float()
            value = torch.tensor([numbers])
            quantizer.calibrate(value)
            assert STEP_MIN * 0.999 <= quantizer.step.item() < math.inf
            assert all(t.isfinite().all() for t in run(quantizer, value, torch.ones_like(value)))


class TestStart:
    @by_configuration
    @pytest.mark.parametrize("bits", [2, 4, 8])
    def test_min_max(self, configuration: str, bits: int) -> None:
        quantizer = of(configuration, bits)
        quantizer.calibrate(sample()[0])
        step, offset = reference.min_max(sample()[0].flatten().tolist(), configuration, bits)
        near(quantizer.step.detach(), step, 1e-14)
        if quantizer.offset is not None:
            near(quantizer.offset.detach(), offset, 1e-12)

    @by_offset
    @pytest.mark.parametrize("bits", [2, 4, 8])
    def test_error_is_no_larger_and_near_a_grid_search(self, configuration: str, bits: int, offset: str) -> None:
        value = torch.nn.functional.silu(sample()[0])[:, :20]
        n, p = reference.grid(configuration, bits)
        errors, starts = {}, {}
        for init in ("min_max", "lsq_plus"):
            quantizer = of(configuration, bits, init=init, offset=offset)
            quantizer.calibrate(value)
            beta = 0.0 if quantizer.offset is None else quantizer.offset.item()
            starts[init] = (quantizer.step.item(), beta)
            errors[init] = reference.squared_error(value.flatten().tolist(), *starts[init], low=n, high=p)
        assert errors["lsq_plus"] <= errors["min_max"]
        step, beta = starts["min_max"]
        moves = [0.0] if quantizer.offset is None or offset != "learned" else [k / 4 for k in range(-16, 17)]
        best = min(
            float((((value - b) / s).clamp(n, p).round() * s + b - value).square().mean())
            for s in (step * k / 60 for k in range(6, 91))
            for b in (beta + step * m for m in moves)
        )
        print(configuration, bits, offset, errors["min_max"], errors["lsq_plus"], best)
        assert errors["lsq_plus"] < 1.15 * best
        if offset == "minimum":
            assert starts["lsq_plus"][1] == starts["min_max"][1]

    def test_a_large_batch_is_looked_at_in_part_and_always_the_same(self) -> None:
        value = torch.randn((25, 10_000), generator=torch.Generator().manual_seed(0))
        steps = set()
        for _ in range(2):
            quantizer = of("signed_symmetric", 4, init="lsq_plus").float()
            quantizer.calibrate(value)
            steps.add(quantizer.step.item())
        assert len(steps) == 1

    @pytest.mark.parametrize("init", INITS)
    @pytest.mark.parametrize("per_channel", [False, True])
    def test_weights(self, init: str, per_channel: bool) -> None:
        weight = sample()[0].reshape(10, 5, 4, 5) + 0.4
        quantizer = LSQPlusWeight(
            bits=4, kind="weight", name="l", ste="", shape=weight.shape, init=init, per_channel=per_channel
        ).double()
        quantizer.calibrate(weight)
        rows = weight.flatten(1) if per_channel else weight.reshape(1, -1)
        wanted = [reference.weight_step(row.tolist(), 4, init) for row in rows]
        near(quantizer.step.detach().flatten(), wanted, 1e-13)
        other = LSQ(bits=4, kind="weight", name="l", ste="", shape=weight.shape, per_channel=per_channel).double()
        other.calibrate(weight)
        with torch.no_grad():
            other.step.copy_(quantizer.step)
        results = []
        for one in (quantizer, other):
            w = weight.clone().requires_grad_()
            codes = one(w)
            results.append([codes.code, *torch.autograd.grad((codes.code * codes.scale * weight).sum(), (w, one.step))])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("offset", OFFSETS)
@by_configuration
def test_state_comes_back(configuration: str, offset: str) -> None:
    for init in INITS:
        quantizer = of(configuration, offset=offset, init=init)
        quantizer.calibrate(sample()[0] + 5)
        other = of(configuration, offset=offset)
        other.load_state_dict(quantizer.state_dict())
        for a, b in zip(run(quantizer, *sample()), run(other, *sample()), strict=True):
            assert torch.equal(a, b), init
    assert ("offset" in quantizer.state_dict()) == reference.has_offset(configuration)
    learned = reference.has_offset(configuration) and offset == "learned"
    assert [name for name, _ in quantizer.named_parameters()] == ["step", "offset"][: 1 + learned]


@by_configuration
def test_compiles_and_constrains(configuration: str) -> None:
    quantizer = make(configuration)
    wanted = run(quantizer, *sample())
    quantizer.compile(fullgraph=True, backend="aot_eager")
    for found, other in zip(run(quantizer, *sample()), wanted, strict=True):
        assert torch.equal(found, other)
    with torch.no_grad():
        quantizer.step.fill_(-1)
    constrain([quantizer.constrain])
    assert quantizer.step.item() == STEP_MIN


@by_configuration
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_in_single_precision(configuration: str, ste: str) -> None:
    n, p = reference.grid(configuration, 4)
    quantizer = make(configuration, 4, 0.3, -0.17, ste=ste).float()
    step, offset = quantizer.step.item(), 0.0 if quantizer.offset is None else quantizer.offset.item()
    value, upstream = (t.float() for t in sample())
    ratio = (value.double() - offset) / step
    # Away from ties and ends the nearest code is the same one.
    kept = ((2 * ratio).round() / 2 - ratio).abs() > 1e-5
    value, upstream = value[kept][None], upstream[kept][None]
    found, scale = run(quantizer, value, upstream), 1 / math.sqrt(value.numel() * p)
    plain = reference.quantize(
        value.flatten().tolist(),
        step,
        offset,
        low=n,
        high=p,
        upstream=upstream.flatten().tolist(),
        step_scale=scale,
        offset_scale=scale,
        round_first=ste == "round_then_clip",
    )
    same(found[0], plain.codes)
    near(found[1].flatten(), plain.values, 1e-6)
    near(found[2].flatten(), plain.grad_values, 5e-6)
    near(found[3], plain.grad_step, 2e-6 * plain.size_step)
    if len(found) == 5:
        near(found[4], plain.grad_offset, 2e-6 * plain.size_offset)


def mutant(wrong: str) -> Any:
    class Mutant(LSQPlusActivation):
        def _codes(self, value: torch.Tensor) -> Codes:
            assert self.offset is not None
            g = 1 / math.sqrt(value[0].numel() * self.qmax)
            offset = {"offset's sign": -self.offset, "offset in steps": self.offset * self.step.detach()}.get(
                wrong, self.offset
            )
            if wrong == "offset learns from values inside":
                offset = offset.detach()
            code = uniform.codes(
                value,
                self.step,
                self.qmin,
                self.qmax,
                gradient_scale=g * (wrong != "g of the batch" or 0.2),
                round_first=wrong == "order",
                offset=offset,
                offset_gradient_scale=1 if wrong == "offset unscaled" else g,
            )
            if wrong == "offset learns from values inside":
                code = code + (self.offset - self.offset.detach()) / self.step.detach() * g
            return Codes(code, self.step.detach(), None if wrong == "offset not added" else self.offset.detach())

    return Mutant


@pytest.mark.parametrize(
    "wrong",
    [
        "offset's sign",
        "offset in steps",
        "offset learns from values inside",
        "g of the batch",
        "order",
        "offset unscaled",
        "offset not added",
    ],
)
def test_mutants_fail(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check("unsigned_asymmetric", 3, "clip_then_round", cls=mutant(wrong))


def test_mutant_without_mistake() -> None:
    check("unsigned_asymmetric", 3, "clip_then_round", cls=mutant(""))
