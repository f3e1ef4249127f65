"""LSQ against a plain loop, torch's own operator, autograd, and numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import same
from tests.references import lsq as reference
from tune_qat.config import STE_VARIANTS, TuneQatError
from tune_qat.quantization.model import constrain
from tune_qat.quantizers.lsq import LSQ, STEP_MIN, bounds, gradient_scale, initial_step

GRIDS = [(bits, signed) for bits in (2, 3, 4, 8) for signed in (True, False)]
by_grid = pytest.mark.parametrize(("bits", "signed"), GRIDS)

Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def make(bits: int, signed: bool, step: float, ste: str = "clip_then_round", dtype: torch.dtype = torch.float64) -> LSQ:
    """An activation quantizer of this signedness and step."""
    quantizer = LSQ(bits=bits, kind="activation", name="layer", ste=ste).to(dtype)
    quantizer.calibrate(torch.tensor([[-1.0 if signed else 0.0, 1.0]]))
    assert quantizer.signed == signed
    with torch.no_grad():
        quantizer.step.fill_(step)
    return quantizer


def run(quantizer: LSQ, value: torch.Tensor, upstream: torch.Tensor) -> Gradients:
    """Dequantized value, and the gradients of `sum(upstream * value)` by input and step."""
    value = value.clone().requires_grad_()
    codes = quantizer(value)
    assert codes.offset is None
    dequantized = codes.code * codes.scale
    (step,) = quantizer.parameters()
    by_value, by_step = torch.autograd.grad((upstream * dequantized).sum(), (value, step))
    return dequantized.detach(), by_value, by_step


def sample(bits: int, signed: bool, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A batch of 20 x 500 values and upstream gradients, and a step with several percent clipped at each end."""
    generator = torch.Generator().manual_seed(10 * bits + signed)
    value = torch.randn((20, 500), generator=generator, dtype=torch.float64)
    value = value if signed else value.abs()
    upstream = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    q_n, q_p = reference.grid(bits, signed)
    step = 3.2 / (q_n + q_p) if signed else 1.6 / q_p
    assert (value / step >= q_p).double().mean() > 0.05
    assert not signed or (value / step <= -q_n).double().mean() > 0.005
    return value.to(dtype), upstream.to(dtype), step


def operator(
    value: torch.Tensor, step: torch.Tensor, bits: int, signed: bool, upstream: torch.Tensor, scale: float
) -> Gradients:
    """torch's learnable fake quantization, which rounds first and then clips; its backward knows float32 only."""
    q_n, q_p = reference.grid(bits, signed)
    value = value.clone().requires_grad_()
    zero = torch.zeros_like(step)
    out = torch._fake_quantize_learnable_per_tensor_affine(value, step, zero, -q_n, q_p, scale)
    by_value, by_step = torch.autograd.grad((upstream * out).sum(), (value, step))
    return out.detach(), by_value, by_step


def away_from_ties(value: torch.Tensor, step: float) -> torch.Tensor:
    """Where the nearest code does not hang on the last bit: the operator multiplies by 1 / s, which rounds twice."""
    ratio = value.double() / step
    return ((ratio - ratio.floor()) - 0.5).abs() > 1e-4


def one_step(step: float) -> torch.Tensor:
    return torch.tensor([step], requires_grad=True)


# Of a sum over 10,000 terms: float32 sums agree to about sqrt(10,000) roundings of 6e-8 relative to the largest term.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def assert_same(actual: Gradients, expected: Gradients, dtype: torch.dtype) -> None:
    """Values and input gradients element by element, the step's gradient relative to the size of its terms."""
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(actual[0], expected[0], rtol=tolerance, atol=tolerance)
    assert torch.equal(actual[1] != 0, expected[1] != 0), "another mask"
    torch.testing.assert_close(actual[1], expected[1], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(actual[2].reshape(()), expected[2].reshape(()), rtol=tolerance, atol=tolerance)


class TestByHand:
    """Q_N = 4, Q_P = 3, s = 1, worked out on paper; and the same for an unsigned grid of Q_P = 3."""

    def check(
        self, quantizer: LSQ, values: list[float], outputs: list[float], masks: list[float], steps: list[float]
    ) -> None:
        for i, value in enumerate(values):
            v = torch.tensor([[value]], dtype=torch.float64)
            out, by_value, by_step = run(quantizer, v, torch.ones_like(v))
            scale = 1 / math.sqrt(quantizer.qmax)  # one feature
            # Exact but for the last digit of the decimal fractions.
            assert out.item() == pytest.approx(outputs[i], abs=1e-12), value
            assert by_value.item() == masks[i], value
            assert by_step.item() == pytest.approx(scale * steps[i], abs=1e-12), value

    def test_signed(self) -> None:
        self.check(
            make(3, True, 1.0),
            values=[-5, -4.3, -1.2, 0.4, 2.6, 3.3, 3.7],
            outputs=[-4, -4, -1, 0, 3, 3, 3],
            masks=[0, 0, 1, 1, 1, 0, 0],
            steps=[-4, -4, 0.2, -0.4, 0.4, 3, 3],
        )

    def test_unsigned(self) -> None:
        self.check(
            make(2, False, 1.0),
            values=[-0.7, -0.3, 0.3, 1.6, 2.8, 3.3, 4.0],
            outputs=[0, 0, 0, 2, 3, 3, 3],
            masks=[0, 0, 1, 1, 1, 0, 0],
            steps=[0, 0, -0.3, 0.4, 0.2, 3, 3],
        )

    def test_the_bounds_belong_to_the_clipped_side(self) -> None:
        # Equation 3: the inner gradients hold for -Q_N < v / s < Q_P, strictly. A step of 0.5 divides exactly.
        signed, unsigned = make(3, True, 0.5), make(2, False, 0.5)
        self.check(signed, values=[-2.0, 1.5], outputs=[-2.0, 1.5], masks=[0, 0], steps=[-4, 3])
        self.check(unsigned, values=[0.0, 1.5], outputs=[0.0, 1.5], masks=[0, 0], steps=[0, 3])

    def test_round_then_clip_moves_the_bounds_by_half_a_step(self) -> None:
        self.check(
            make(3, True, 1.0, "round_then_clip"),
            values=[-5, -4.7, -4.3, -1.2, 3.0, 3.3, 3.7],
            outputs=[-4, -4, -4, -1, 3, 3, 3],
            masks=[0, 0, 1, 1, 1, 1, 0],
            steps=[-4, -4, 0.3, 0.2, 0, -0.3, 3],
        )


@by_grid
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_equals_the_plain_loop(bits: int, signed: bool, ste: str) -> None:
    value, upstream, step = sample(bits, signed)
    q_n, q_p = reference.grid(bits, signed)
    plain = reference.quantize(
        value.flatten().tolist(),
        step,
        q_n=q_n,
        q_p=q_p,
        upstream=upstream.flatten().tolist(),
        gradient_scale=1 / math.sqrt(500 * q_p),
        round_first=ste == "round_then_clip",
    )
    quantizer = make(bits, signed, step, ste)
    same(quantizer(value).code, plain.codes)
    expected = (
        torch.tensor(plain.values, dtype=torch.float64).reshape(value.shape),
        torch.tensor(plain.grad_values, dtype=torch.float64).reshape(value.shape),
        torch.tensor(plain.grad_step, dtype=torch.float64),
    )
    assert_same(run(quantizer, value, upstream), expected, torch.float64)


@by_grid
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_equals_the_composition_under_autograd(bits: int, signed: bool, ste: str) -> None:
    value, upstream, step = sample(bits, signed)
    q_n, q_p = reference.grid(bits, signed)
    v, s = value.clone().requires_grad_(), torch.tensor(step, dtype=torch.float64, requires_grad=True)
    composed = reference.quantize_by_autograd(
        v, s, q_n=q_n, q_p=q_p, gradient_scale=1 / math.sqrt(500 * q_p), round_first=ste == "round_then_clip"
    )
    by_value, by_step = torch.autograd.grad((upstream * composed).sum(), (v, s))
    expected = (composed.detach(), by_value, by_step)
    assert_same(run(make(bits, signed, step, ste), value, upstream), expected, torch.float64)


@by_grid
def test_equals_torchs_operator_outside_the_half_bins(bits: int, signed: bool) -> None:
    # Within half a step beyond the range, and on its ends, the operator is not LSQ: it rounds first.
    value, upstream, step = sample(bits, signed, torch.float32)
    q_n, q_p = reference.grid(bits, signed)
    ratio = value.double() / step
    half_bin = ((ratio > q_p - 1e-4) & (ratio < q_p + 0.5001)) | ((ratio > -q_n - 0.5001) & (ratio < -q_n + 1e-4))
    kept = away_from_ties(value, step) & ~half_bin
    assert 0.5 < kept.double().mean() < 1
    # One row of values, whose features are then what is left.
    value, upstream = value[kept][None], upstream[kept][None]
    scale = 1 / math.sqrt(value.numel() * q_p)
    expected = operator(value, one_step(step), bits, signed, upstream, scale)
    assert_same(run(make(bits, signed, step, dtype=torch.float32), value, upstream), expected, torch.float32)


@by_grid
def test_equals_torchs_operator_on_values_that_were_clipped_first(bits: int, signed: bool) -> None:
    value, upstream, step = sample(bits, signed, torch.float32)
    q_n, q_p = reference.grid(bits, signed)
    kept = away_from_ties(value, step)
    value, upstream = value[kept][None], upstream[kept][None]
    scale = 1 / math.sqrt(value.numel() * q_p)
    v, s = value.clone().requires_grad_(), one_step(step)
    scaled = s * scale + (s * (1 - scale)).detach()
    clipped = torch.maximum(torch.minimum(v, scaled * q_p), -scaled * q_n)
    out = torch._fake_quantize_learnable_per_tensor_affine(clipped, s, torch.zeros_like(s), -q_n, q_p, scale)
    by_value, by_step = torch.autograd.grad((upstream * out).sum(), (v, s))
    expected = (out.detach(), by_value, by_step)
    assert_same(run(make(bits, signed, step, dtype=torch.float32), value, upstream), expected, torch.float32)


@by_grid
def test_round_then_clip_is_torchs_operator(bits: int, signed: bool) -> None:
    value, upstream, step = sample(bits, signed, torch.float32)
    _, q_p = reference.grid(bits, signed)
    kept = away_from_ties(value, step)
    value, upstream = value[kept][None], upstream[kept][None]
    scale = 1 / math.sqrt(value.numel() * q_p)
    expected = operator(value, one_step(step), bits, signed, upstream, scale)
    assert_same(
        run(make(bits, signed, step, "round_then_clip", torch.float32), value, upstream), expected, torch.float32
    )


@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_ties_go_to_the_even_code(ste: str) -> None:
    # As torch rounds; a step of 0.5 divides exactly.
    codes = make(3, True, 0.5, ste)(torch.tensor([[-1.25, -0.75, -0.25, 0.25, 0.75, 1.25]])).code
    assert codes.tolist() == [[-2, -2, 0, 0, 2, 2]]


class TestFormulas:
    @pytest.mark.parametrize(
        ("bits", "signed", "expected"),
        [(2, True, (-2, 1)), (4, True, (-8, 7)), (8, True, (-128, 127)), (2, False, (0, 3)), (8, False, (0, 255))],
    )
    def test_bounds(self, bits: int, signed: bool, expected: tuple[int, int]) -> None:
        assert bounds(bits, signed) == expected

    def test_initial_step(self) -> None:
        value = torch.tensor([[1.0, -2.0], [3.0, -6.0]])
        assert initial_step(value, 4).item() == 2 * 3.0 / 2  # 2 * mean |v| / sqrt(Q_P), exact in binary
        values = sample(4, True)[0]
        expected = reference.initial_step(values.flatten().tolist(), 7)
        assert initial_step(values, 7).item() == pytest.approx(expected, rel=1e-12)  # float64 mean of 10,000

    def test_gradient_scale(self) -> None:
        assert gradient_scale(100, 4) == 1 / 20


class BatchCounted(LSQ):
    """A mutant: the batch as if it were a feature."""

    def _grid(self, value: torch.Tensor) -> dict[str, Any]:
        return super()._grid(value) | {"gradient_scale": gradient_scale(value.numel(), self.qmax)}


class TestFeatures:
    """N of the gradient scale: weights of the layer, or features of one sample."""

    def check(self, quantizer: LSQ) -> None:
        """The mean over twice the same samples is the same."""
        value, upstream, step = sample(4, True)
        quantizer.double().calibrate(value)
        with torch.no_grad():
            quantizer.step.fill_(step)
        alone = run(quantizer, value, upstream / len(value))[2]
        doubled = run(quantizer, value.repeat(2, 1), upstream.repeat(2, 1) / (2 * len(value)))[2]
        assert doubled.item() == pytest.approx(alone.item(), rel=1e-12)  # double precision

    def test_of_an_activation_leave_out_the_batch(self) -> None:
        options: dict[str, Any] = {"bits": 4, "kind": "activation", "name": "layer", "ste": "clip_then_round"}
        self.check(LSQ(**options))
        with pytest.raises(AssertionError):
            self.check(BatchCounted(**options))

    def test_of_a_weight_are_all_of_them(self) -> None:
        value, upstream, step = sample(4, True)
        weight = LSQ(bits=4, kind="weight", name="layer", ste="clip_then_round").double()
        weight.calibrate(value)
        with torch.no_grad():
            weight.step.fill_(step)
        as_weight = run(weight, value, upstream)[2]
        as_activation = run(make(4, True, step), value, upstream)[2]
        assert as_weight.item() == pytest.approx(as_activation.item() / math.sqrt(20), rel=1e-12)  # 20 rows


class TestCalibration:
    @pytest.mark.parametrize(("lowest", "signed"), [(0.0, False), (-0.5e-6, False), (-2e-6, True), (-1.0, True)])
    def test_an_activation_is_signed_if_its_batch_goes_below_zero(self, lowest: float, signed: bool) -> None:
        quantizer = LSQ(bits=4, kind="activation", name="layer", ste="clip_then_round")
        quantizer.calibrate(torch.tensor([[lowest, 3.0]]))
        assert (quantizer.signed, quantizer.qmin, quantizer.qmax) == ((True, -8, 7) if signed else (False, 0, 15))
        expected = 2 * (3.0 - lowest) / 2 / math.sqrt(7 if signed else 15)
        assert quantizer.step.item() == pytest.approx(expected, rel=1e-6)  # float32
        assert quantizer.step_init == quantizer.step.item()

    def test_a_weight_is_signed_whatever_its_values(self) -> None:
        quantizer = LSQ(bits=4, kind="weight", name="layer", ste="clip_then_round")
        quantizer.calibrate(torch.ones(3))
        assert quantizer.signed and quantizer.step.item() == pytest.approx(2 / math.sqrt(7), rel=1e-6)  # float32

    def test_again_may_change_the_sign_and_back(self) -> None:
        quantizer = make(4, True, 1.0)
        quantizer.calibrate(torch.ones(1, 3))
        assert not quantizer.signed and quantizer.qmax == 15
        quantizer.calibrate(-torch.ones(1, 3))
        assert quantizer.signed and quantizer.qmax == 7

    def test_of_zeros_gives_the_smallest_step(self) -> None:
        quantizer = LSQ(bits=4, kind="activation", name="layer", ste="clip_then_round")
        quantizer.calibrate(torch.zeros(2, 3))
        assert quantizer.step.item() == pytest.approx(STEP_MIN, rel=1e-6) and STEP_MIN > 0  # float32

    def test_error_says_which_tensor(self) -> None:
        quantizer = LSQ(bits=4, kind="weight", name="features.3", ste="clip_then_round")
        with pytest.raises(TuneQatError, match=r"'features\.3'.*weight.*not finite"):
            quantizer.calibrate(torch.tensor([1.0, math.inf]))


def test_not_finite_values_stay_visible() -> None:
    # Divergence has to reach the loss: a NaN that became a code would hide it.
    quantizer = make(4, True, 0.5)
    assert quantizer(torch.tensor([[math.nan, 1.0]])).code.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize(("before", "after"), [(-0.3, STEP_MIN), (0.0, STEP_MIN), (0.3, 0.3)])
def test_constrain_keeps_the_step_positive(before: float, after: float) -> None:
    quantizer = make(4, True, before, dtype=torch.float32)
    constrain([quantizer.constrain])
    assert quantizer.step.item() == pytest.approx(after, rel=1e-6)  # float32
