"""QNN and BNN in plain Python: the sign, or 2^k values from -1 to 1 (Hubara et al., arXiv 1609.07061, 1602.02830)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlainQNN:
    """`ratios` are the codes ahead of rounding; of one bit there are none."""

    codes: list[int]
    values: list[float]
    ratios: list[float]
    gradients: list[float]


def quantize(values: Sequence[float], bits: int, upstream: Sequence[float]) -> PlainQNN:
    """`upstream` is the gradient of the loss by the quantized values."""
    last = 2**bits - 1
    codes, outputs, ratios, gradients = [], [], [], []
    for x, dy in zip(values, upstream, strict=True):
        gradients.append(dy if -1 <= x <= 1 else 0.0)
        if bits == 1:
            codes.append(1 if x >= 0 else -1)
            outputs.append(float(codes[-1]))
            continue
        ratios.append((min(max(x, -1.0), 1.0) + 1) / 2 * last)
        codes.append(round(ratios[-1]))  # Python rounds halves to even, as torch does
        outputs.append(-1 + codes[-1] * 2 / last)
    return PlainQNN(codes=codes, values=outputs, ratios=ratios, gradients=gradients)
