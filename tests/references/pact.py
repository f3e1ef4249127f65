"""PACT of one tensor in plain Python, from the formulas of Choi et al. (arXiv 1805.06085); floats are double."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class PlainPACT:
    """Codes, dequantized values and gradients; `size_alpha` is what the terms of alpha's sum are in size together."""

    codes: list[int]
    values: list[float]
    grad_values: list[float]
    grad_alpha: float
    size_alpha: float


def quantize(values: Sequence[float], alpha: float, *, bits: int, upstream: Sequence[float]) -> PlainPACT:
    """`upstream` is the gradient of the loss by the dequantized values."""
    q = 2**bits - 1
    codes, grad_values, by_alpha = [], [], []
    for x, dy in zip(values, upstream, strict=True):
        clipped = min(max(x, 0.0), alpha)
        codes.append(round(clipped / (alpha / q)))  # Python rounds halves to even, as torch does
        grad_values.append(dy if 0 < x < alpha else 0.0)
        by_alpha.append(dy if x >= alpha else 0.0)
    return PlainPACT(
        codes=codes,
        values=[code * alpha / q for code in codes],
        grad_values=grad_values,
        grad_alpha=sum(by_alpha),
        size_alpha=sum(abs(term) for term in by_alpha),
    )


def clip(value: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Equation 1 as the paper writes it, which autograd differentiates; away from 0 and alpha only."""
    return 0.5 * (value.abs() - (value - alpha).abs() + alpha)


def quantize_by_autograd(value: torch.Tensor, alpha: torch.Tensor, *, bits: int) -> torch.Tensor:
    """Equations 1 and 2: rounding is no part of any gradient, neither that of the values nor that of alpha."""
    clipped, q = clip(value, alpha), 2**bits - 1
    return clipped + ((clipped * q / alpha).round() * alpha / q - clipped).detach()
