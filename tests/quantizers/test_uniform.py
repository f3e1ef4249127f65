"""The operation behind every uniform quantizer against a plain loop, and the check itself against wrong operations."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.quantizers.comparison import case, same
from tests.references import lsq as reference
from tune_qat.config import STE_VARIANTS
from tune_qat.quantizers import uniform

Codes = Callable[..., torch.Tensor]
CHANNELS, EACH = 4, 60
GRIDS = [(bits, signed) for bits in (2, 3, 4, 8) for signed in (True, False)]


def check(
    codes: Codes, bits: int = 3, signed: bool = True, *, round_first: bool = False, per_channel: bool = False
) -> None:
    """Codes and both gradients of a tensor of 4 channels, in double precision, with clipped values at each end."""
    draw = torch.Generator().manual_seed(10 * bits + signed)
    value = torch.randn((CHANNELS, EACH, 1, 1), generator=draw, dtype=torch.float64)
    value = value if signed else value.abs()
    upstream = torch.randn(value.shape, generator=draw, dtype=torch.float64)
    q_n, q_p = reference.grid(bits, signed)
    steps = [3.2 / (q_n + q_p) * (1 + channel / 10) for channel in range(CHANNELS)]
    # On both ends of the range and half a step beyond, which is where the two orders differ.
    value[:, 0], value[:, 1] = q_p * torch.tensor(steps)[:, None, None], -q_n * torch.tensor(steps)[:, None, None]
    value[:, 2] = (q_p + 0.3) * torch.tensor(steps)[:, None, None]
    groups: list[Any] = list(range(CHANNELS)) if per_channel else [slice(None)]
    step = torch.tensor(steps, dtype=torch.float64).reshape(-1, 1, 1, 1) if per_channel else torch.tensor(steps[0])
    value, step = value.requires_grad_(), step.double().requires_grad_()
    scale = 1 / math.sqrt(value[groups[0]].numel() * q_p)
    found = codes(value, step, -q_n, q_p, gradient_scale=scale, round_first=round_first)
    # The gradient that reaches codes is the step times that of the dequantized value.
    by_value, by_step = torch.autograd.grad((upstream * found * step.detach()).sum(), (value, step))
    assert by_step.shape == step.shape
    for index, group in enumerate(groups):
        plain = reference.quantize(
            value[group].flatten().tolist(),
            float(step.detach().flatten()[index]),
            q_n=q_n,
            q_p=q_p,
            upstream=upstream[group].flatten().tolist(),
            gradient_scale=scale,
            round_first=round_first,
        )
        same(found[group], plain.codes)
        # Double precision: 240 terms of order 1, times codes of up to 255.
        close(by_value[group].flatten(), torch.tensor(plain.grad_values, dtype=torch.float64))
        close(by_step.flatten()[index], torch.tensor(plain.grad_step, dtype=torch.float64))


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("bits", "signed"), GRIDS)
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_equals_the_plain_loop(bits: int, signed: bool, ste: str) -> None:
    for per_channel in (False, True):
        check(uniform.codes, bits, signed, round_first=ste == "round_then_clip", per_channel=per_channel)


class Mutant(torch.autograd.Function):
    """The operation with one thing wrong."""

    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, step: torch.Tensor, low: int, high: int, scale: float, wrong: str
    ) -> torch.Tensor:
        ctx.save_for_backward(value, step)
        ctx.grid = low, high, scale, wrong
        ratio = (value / step).clamp(low, high)
        if wrong == "dequantized value":
            return ratio.round() * step
        return ratio.floor() if wrong == "floor" else ratio.round()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None, None]:
        value, step = ctx.saved_tensors
        low, high, scale, wrong = ctx.grid
        ratio = value / step
        rounded = ratio.round()
        inside = (ratio > low) & (ratio < high)
        if wrong == "mask on the rounded value":
            inside = (rounded >= low) & (rounded <= high)
        clipped = rounded.clamp(low, high)
        outside = {"clip term forgotten": 0 * clipped, "clip term with the other sign": -clipped}.get(wrong, clipped)
        within = {
            "value in place of rounding error": rounded,
            "rounding error with the other sign": ratio - rounded,
        }.get(wrong, rounded - ratio)
        per_element = grads[0] / step * torch.where(inside, within, outside)
        summed = per_element.mean() if wrong == "mean" else per_element.sum_to_size(step.shape)
        if wrong == "difference of two sums":
            summed = (grads[0] * rounded).sum() - (grads[0] * ratio).sum()
        if wrong == "summed over all channels":
            summed = per_element.sum().expand(step.shape)
        factor = {"scale doubled": 2 * scale, "scale forgotten": 1.0}
        mask = 1 if wrong == "value not masked" else inside
        return grads[0] / step * mask, summed * factor.get(wrong, scale), None, None, None, None


MUTANTS = [
    "dequantized value",
    "floor",
    "mask on the rounded value",
    "value not masked",
    "clip term forgotten",
    "clip term with the other sign",
    "value in place of rounding error",
    "rounding error with the other sign",
    "mean",
    "scale doubled",
    "scale forgotten",
    "summed over all channels",
]


def mutant(wrong: str) -> Codes:
    def codes(
        value: torch.Tensor, step: torch.Tensor, low: int, high: int, *, gradient_scale: float, round_first: bool
    ) -> torch.Tensor:
        result: torch.Tensor = Mutant.apply(value, step, low, high, gradient_scale, wrong)
        return result

    return codes


@pytest.mark.parametrize("wrong", MUTANTS)
def test_the_check_fails_for_a_wrong_operation(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(mutant(wrong), per_channel=wrong == "summed over all channels")


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_check_passes_for_the_mutants_without_their_mistake(per_channel: bool) -> None:
    check(mutant("nothing"), per_channel=per_channel)


@pytest.mark.parametrize(("bits", "signed"), GRIDS)
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_equals_the_composition_under_autograd(bits: int, signed: bool, ste: str) -> None:
    for shape in ((), (6, 1), (6, 1, 1, 1)):  # per tensor, and the channels of a linear layer and of a convolution
        with case(shape):
            check_against_composition(*drawn(bits, signed, shape), bits, signed, ste)


def check_against_composition(
    value: torch.Tensor, upstream: torch.Tensor, step: torch.Tensor, bits: int, signed: bool, ste: str
) -> None:
    q_n, q_p = reference.grid(bits, signed)
    grid: dict[str, Any] = {"gradient_scale": 0.05, "round_first": ste == "round_then_clip"}
    composed = reference.quantize_by_autograd(value, step, q_n=q_n, q_p=q_p, **grid)
    expected = torch.autograd.grad((upstream * composed).sum(), (value, step))
    found = uniform.codes(value, step, -q_n, q_p, **grid)
    close(found * step, composed)
    gradients = torch.autograd.grad((upstream * found * step.detach()).sum(), (value, step))
    for one, other in zip(gradients, expected, strict=True):
        close(one, other)


@pytest.mark.parametrize(("bits", "signed"), GRIDS)
@pytest.mark.parametrize("ste", STE_VARIANTS)
def test_the_slope_is_what_codes_multiply_their_gradient_by(bits: int, signed: bool, ste: str) -> None:
    q_n, q_p = reference.grid(bits, signed)
    grid: dict[str, Any] = {"gradient_scale": 0.05, "round_first": ste == "round_then_clip"}
    for shape in ((), (6, 1)):
        with case(shape):
            value, upstream, step = drawn(bits, signed, shape)
            (by_step,) = torch.autograd.grad((upstream * uniform.codes(value, step, -q_n, q_p, **grid)).sum(), step)
            slope = uniform.slope(value.detach(), step.detach(), -q_n, q_p, **grid)
            assert slope.shape == value.shape and not slope.requires_grad
            close((upstream * slope).sum_to_size(shape), by_step)


def drawn(bits: int, signed: bool, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values with some clipped at each end, gradients of the output, and steps of this shape."""
    draw = torch.Generator().manual_seed(bits)
    value, upstream = torch.randn((2, 6, 50, *shape[2:]), generator=draw, dtype=torch.float64)
    # No value on the very end of the unsigned range, where autograd's clamp and equation 3 differ.
    value = value if signed else value.abs() + 1e-3
    step = torch.rand(shape, generator=draw, dtype=torch.float64) + 3
    step = step / (2**bits if signed else 2 ** (bits + 1))
    return value.requires_grad_(), upstream, step.requires_grad_()


def check_no_large_sums(codes: Codes) -> None:
    """Values a little above a code: n - v is 0.001 while n and v are 100, and there are a million of them.

    Float32 holds sums of 1e8 to 6e-8 of them, that is to 6; what is wanted is their difference, 1,000.
    """
    value = torch.full((1_000_000,), 100.001)
    step = torch.tensor(1.0, requires_grad=True)
    found = codes(value, step, 0, 255, gradient_scale=1.0, round_first=False)
    (by_step,) = torch.autograd.grad(found.sum(), step)
    exact = float((value.double().round() - value.double()).sum())
    assert float(by_step) == pytest.approx(exact, rel=1e-6)  # of float32; each term is exact, and sums are pairwise


def test_the_steps_gradient_is_no_difference_of_two_large_sums() -> None:
    check_no_large_sums(uniform.codes)


def test_the_check_fails_for_a_difference_of_two_large_sums() -> None:
    with pytest.raises(AssertionError):
        check_no_large_sums(mutant("difference of two sums"))
    check_no_large_sums(mutant("nothing"))


def test_codes_of_extremes() -> None:
    value = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1e30])
    found = uniform.codes(value, torch.tensor(0.5), -8, 7, gradient_scale=1.0)
    assert found.isnan().tolist() == [True, False, False, False, False]
    assert found[1:].tolist() == [7, -8, 0, 7]
