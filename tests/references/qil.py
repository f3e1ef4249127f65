"""QIL in plain Python, straight from Jung et al. (arXiv 1808.05779): alpha, beta and gamma as the paper writes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

FLOOR = 1e-6
"""Base of powers and logarithms in gradients where the interval's lower end would make them infinite."""


@dataclass(frozen=True, kw_only=True)
class PlainQIL:
    """Codes and gradients; Python floats are double precision."""

    codes: list[int]
    grad_values: list[float]
    grad_centre: float
    grad_distance: float
    grad_gamma: float


def quantize(
    values: Sequence[float],
    *,
    c: float,
    d: float,
    gamma: float = 1.0,
    q: int,
    signed: bool,
    upstream: Sequence[float],
) -> PlainQIL:
    """`upstream` is the gradient of the loss by `code / q`. Where the transformed value is +-1 there is no gradient.

    Nor where it is 0, for activations.
    """
    alpha, beta = 0.5 / d, -0.5 * c / d + 0.5
    codes, grad_values, by_c, by_d, by_gamma = [], [], 0.0, 0.0, 0.0
    for w, dy in zip(values, upstream, strict=True):
        size, sign = (abs(w), (w > 0) - (w < 0)) if signed else (w, 1)
        base = max(alpha * size + beta, 0.0)  # a rounding below 0 at the very end
        transformed = 0.0 if size < c - d else 1.0 if size > c + d else base**gamma
        codes.append(sign * round(transformed * q))  # Python rounds halves to even, as torch does
        if size < c - d or size >= c + d or (size == c - d and not signed):
            grad_values.append(0.0)
            continue
        base = max(base, FLOOR)
        power = gamma * base ** (gamma - 1)
        grad_values.append(dy * power * alpha)
        by_c += dy * -alpha * power * sign
        by_d += dy * power * (alpha / d) * (c - size) * sign
        by_gamma += dy * base**gamma * math.log(base) * sign
    return PlainQIL(codes=codes, grad_values=grad_values, grad_centre=by_c, grad_distance=by_d, grad_gamma=by_gamma)


def transform(
    value: torch.Tensor, c: torch.Tensor, d: torch.Tensor, gamma: torch.Tensor | float, *, signed: bool
) -> torch.Tensor:
    """What is rounded, as a composition that autograd differentiates; away from the interval's ends."""
    size = value.abs() if signed else value
    base = 0.5 / d * size + (-0.5 * c / d + 0.5)
    inside = (size >= c - d) & (size <= c + d)
    middle = torch.where(inside, base, 1.0) ** gamma
    out = torch.where(inside, middle, (size > c).to(value.dtype))
    return out * value.sign() if signed else out
