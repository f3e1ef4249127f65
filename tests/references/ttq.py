"""Trained ternary weights in plain Python (Zhu et al., arXiv 1612.01064), and once more under autograd."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class PlainTTQ:
    """Of a whole layer."""

    codes: list[int]
    values: list[float]
    by_weights: list[float]
    by_positive: float
    by_negative: float


def quantize(
    weights: Sequence[float], positive: float, negative: float, *, threshold: float, upstream: Sequence[float]
) -> PlainTTQ:
    """`upstream` is the gradient of the loss by the quantized weights."""
    delta = threshold * max(abs(w) for w in weights)
    codes, values, by_weights, by_positive, by_negative = [], [], [], 0.0, 0.0
    for w, g in zip(weights, upstream, strict=True):
        if w > delta:
            codes.append(1)
            values.append(positive)
            by_weights.append(positive * g)
            by_positive += g
        elif w < -delta:
            codes.append(-1)
            values.append(-negative)
            by_weights.append(negative * g)
            by_negative -= g
        else:
            codes.append(0)
            values.append(0.0)
            by_weights.append(g)
    return PlainTTQ(codes=codes, values=values, by_weights=by_weights, by_positive=by_positive, by_negative=by_negative)


def quantize_by_autograd(
    weight: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, threshold: float
) -> torch.Tensor:
    """`positive` times one mask less `negative` times the other, and what the latent weight gets added as a zero."""
    constant = weight.detach()
    delta = threshold * constant.abs().max()
    above, below = (constant > delta).double(), (constant < -delta).double()
    slope = positive.detach() * above + negative.detach() * below + (1 - above - below)
    return positive * above - negative * below + slope * (weight - constant)
