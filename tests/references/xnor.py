"""XNOR-Net in plain Python, filter by filter (Rastegari et al., arXiv 1603.05279)."""

from collections.abc import Sequence
from dataclasses import dataclass

Filters = list[list[list[float]]]
"""[output channel][input channel][place in the kernel]."""


@dataclass(frozen=True, kw_only=True)
class PlainXNOR:
    """`scales` has one for each output channel."""

    codes: list[list[list[int]]]
    scales: list[float]
    values: Filters
    gradients: Filters


def quantize_weights(weights: Filters, upstream: Filters, gradient: str) -> PlainXNOR:
    """`upstream` is the gradient of the loss by the quantized weights; `gradient` is `paper` or `code`."""
    codes, scales, values, gradients = [], [], [], []
    for filter_, by_filter in zip(weights, upstream, strict=True):
        flat = [w for channel in filter_ for w in channel]
        n, channels = len(flat), len(filter_)
        scale = sum(abs(w) for w in flat) / n
        # One channel is not centred, and so has no factor for it.
        factor = n * (1 - 1 / channels if channels > 1 else 1) if gradient == "code" else 1
        scales.append(scale)
        codes.append([[1 if w >= 0 else -1 for w in channel] for channel in filter_])
        values.append([[scale * code for code in channel] for channel in codes[-1]])
        gradients.append(
            [
                [g * (1 / n + (scale if -1 < w < 1 else 0)) * factor for w, g in zip(channel, by_channel, strict=True)]
                for channel, by_channel in zip(filter_, by_filter, strict=True)
            ]
        )
    return PlainXNOR(codes=codes, scales=scales, values=values, gradients=gradients)


def constrain(weights: Filters) -> Filters:
    """Each place in the kernel centred over the input channels, then clipped to [-1, 1]."""
    result = []
    for filter_ in weights:
        channels, places = len(filter_), len(filter_[0])
        means = [sum(channel[k] for channel in filter_) / channels if channels > 1 else 0.0 for k in range(places)]
        result.append([[min(max(channel[k] - means[k], -1.0), 1.0) for k in range(places)] for channel in filter_])
    return result


def quantize_activations(values: Sequence[float], upstream: Sequence[float]) -> tuple[list[int], list[float]]:
    """Signs, and the gradients by the activations."""
    codes = [1 if x >= 0 else -1 for x in values]
    return codes, [0.0 if abs(x) >= 1 else dy for x, dy in zip(values, upstream, strict=True)]
