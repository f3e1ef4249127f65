"""LSQ+ of one tensor in plain Python, from the formulas of Bhalgat et al. (arXiv 2004.09576); floats are double."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

CONFIGURATIONS = ("unsigned_symmetric", "signed_symmetric", "signed_asymmetric", "unsigned_asymmetric")


@dataclass(frozen=True, kw_only=True)
class PlainLSQPlus:
    """Codes, dequantized values and gradients; `size_` is what the terms of a sum are in size, taken together."""

    codes: list[int]
    values: list[float]
    grad_values: list[float]
    grad_step: float
    grad_offset: float
    size_step: float
    size_offset: float


def grid(configuration: str, bits: int) -> tuple[int, int]:
    """n and p of a configuration, with their signs."""
    if configuration.startswith("signed"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def has_offset(configuration: str) -> bool:
    return configuration.endswith("asymmetric")


def quantize(
    values: Sequence[float],
    step: float,
    offset: float,
    *,
    low: int,
    high: int,
    upstream: Sequence[float],
    step_scale: float,
    offset_scale: float,
    round_first: bool = False,
) -> PlainLSQPlus:
    """Codes from `low` to `high` (n and p); `upstream` is the gradient of the loss by the dequantized values.

    The scales are factors on the gradients of step and offset.
    """
    codes, outputs, grad_values, by_step, by_offset = [], [], [], [], []
    for x, dy in zip(values, upstream, strict=True):
        ratio = (x - offset) / step
        nearest = round(ratio)  # Python rounds halves to even, as torch does
        if round_first:
            below, above = nearest < low, nearest > high
        else:
            below, above = ratio <= low, ratio >= high
        code = min(max(nearest, low), high)
        codes.append(code)
        outputs.append(code * step + offset)
        outside = below or above
        grad_values.append(0.0 if outside else dy)
        by_step.append(dy * (low if below else high if above else nearest - ratio))
        by_offset.append(dy if outside else 0.0)
    return PlainLSQPlus(
        codes=codes,
        values=outputs,
        grad_values=grad_values,
        grad_step=sum(by_step) * step_scale,
        grad_offset=sum(by_offset) * offset_scale,
        size_step=sum(abs(term) for term in by_step) * step_scale,
        size_offset=sum(abs(term) for term in by_offset) * offset_scale,
    )


def quantize_by_autograd(
    value: torch.Tensor, step: torch.Tensor, offset: torch.Tensor, *, low: int, high: int
) -> torch.Tensor:
    """The dequantized tensor as a composition that autograd differentiates; away from the ends of the range only."""
    ratio = ((value - offset) / step).clamp(low, high)
    return (ratio.round().detach() + (ratio - ratio.detach())) * step + offset


def weight_step(values: Sequence[float], bits: int, init: str = "lsq_plus") -> float:
    """The first step of weights that are not all 0, with the deviation of a population."""
    if init == "lsq":
        return 2 * sum(abs(w) for w in values) / len(values) / (2 ** (bits - 1) - 1) ** 0.5
    if init == "min_max":
        return max(abs(w) for w in values) / 2 ** (bits - 1)
    mean = sum(values) / len(values)
    deviation = (sum((w - mean) ** 2 for w in values) / len(values)) ** 0.5
    return max(abs(mean - 3 * deviation), abs(mean + 3 * deviation)) / 2 ** (bits - 1)


def min_max(values: Sequence[float], configuration: str, bits: int) -> tuple[float, float]:
    """Step and offset with which the grid reaches from the smallest to the largest value."""
    n, p = grid(configuration, bits)
    if has_offset(configuration):
        step = (max(values) - min(values)) / (p - n)
        return step, min(values) - n * step
    # Without an offset both ends have to be in reach of 0; values below an unsigned grid are lost.
    return max(max(values) / p, min(values) / n if n else 0.0), 0.0


def squared_error(values: Sequence[float], step: float, offset: float, *, low: int, high: int) -> float:
    """The mean over the values."""
    quantized = (min(max(round((x - offset) / step), low), high) * step + offset for x in values)
    return sum((y - x) ** 2 for y, x in zip(quantized, values, strict=True)) / len(values)
