"""DoReFa in plain Python, with the derivatives worked out on paper (Zhou et al., arXiv 1606.06160)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlainDoReFa:
    """`ratios` are the codes ahead of rounding; of one bit there are none."""

    codes: list[int]
    values: list[float]
    ratios: list[float]
    gradients: list[float]


def quantize_weights(
    weights: Sequence[float], bits: int, upstream: Sequence[float], *, detach_max: bool = False
) -> PlainDoReFa:
    """A whole layer; `upstream` is the gradient of the loss by the quantized weights.

    With t = tanh(w), m the largest |t| and more than one bit the value is t / m, rounded. So each weight gets
    g (1 - t^2) / m, and the largest also -sum(g t) / m^2 sign(t) (1 - t^2), in equal parts where there are several.
    """
    if bits == 1:
        mean = sum(abs(w) for w in weights) / len(weights)
        codes = [1 if w >= 0 else -1 for w in weights]
        return PlainDoReFa(codes=codes, values=[mean * c for c in codes], ratios=[], gradients=list(upstream))
    last = 2**bits - 1
    squashed = [math.tanh(w) for w in weights]
    largest = max(abs(t) for t in squashed)
    ratios = [(t / (2 * largest) + 0.5) * last for t in squashed]
    codes = [round(ratio) for ratio in ratios]  # halves to even, as torch does
    by_largest = -sum(g * t for g, t in zip(upstream, squashed, strict=True)) / largest**2
    ties = sum(abs(t) == largest for t in squashed)
    gradients = []
    for t, g in zip(squashed, upstream, strict=True):
        by_t = g / largest
        if abs(t) == largest and not detach_max:
            by_t += by_largest * math.copysign(1, t) / ties
        gradients.append(by_t * (1 - t * t))
    return PlainDoReFa(codes=codes, values=[2 * c / last - 1 for c in codes], ratios=ratios, gradients=gradients)


def quantize_activations(values: Sequence[float], bits: int, upstream: Sequence[float]) -> PlainDoReFa:
    """Clipped to [0, 1]; the gradient passes strictly inside."""
    last = 2**bits - 1
    ratios = [min(max(x, 0.0), 1.0) * last for x in values]
    codes = [round(ratio) for ratio in ratios]
    gradients = [dy if 0 < x < 1 else 0.0 for x, dy in zip(values, upstream, strict=True)]
    return PlainDoReFa(codes=codes, values=[c / last for c in codes], ratios=ratios, gradients=gradients)
