"""LSQ of one tensor in plain Python, straight from equations 1 to 3 of Esser et al. (arXiv 1902.08153)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.func import functional_call


@dataclass(frozen=True, kw_only=True)
class PlainLSQ:
    """Codes, dequantized values and gradients; Python floats are double precision."""

    codes: list[int]
    values: list[float]
    grad_values: list[float]
    grad_step: float


def grid(bits: int, signed: bool) -> tuple[int, int]:
    """Q_N and Q_P, both positive, as the paper writes them."""
    return (2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def initial_step(values: Sequence[float], q_p: int) -> float:
    return 2 * sum(abs(v) for v in values) / len(values) / q_p**0.5


def quantize(
    values: Sequence[float],
    step: float,
    *,
    q_n: int,
    q_p: int,
    upstream: Sequence[float],
    gradient_scale: float,
    round_first: bool = False,
) -> PlainLSQ:
    """`upstream` is the gradient of the loss by the dequantized values."""
    codes, outputs, grad_values, grad_step = [], [], [], 0.0
    for v, dy in zip(values, upstream, strict=True):
        ratio = v / step
        nearest = round(ratio)  # Python rounds halves to even, as torch does
        code = min(max(nearest, -q_n), q_p)
        if round_first:
            below, above = nearest < -q_n, nearest > q_p
        else:
            below, above = ratio <= -q_n, ratio >= q_p
        slope = -q_n if below else q_p if above else nearest - ratio
        codes.append(code)
        outputs.append(code * step)
        grad_values.append(0.0 if below or above else dy)
        grad_step += dy * slope
    return PlainLSQ(codes=codes, values=outputs, grad_values=grad_values, grad_step=grad_step * gradient_scale)


def quantize_by_autograd(
    value: torch.Tensor, step: torch.Tensor, *, q_n: int, q_p: int, gradient_scale: float, round_first: bool = False
) -> torch.Tensor:
    """The same dequantized tensor as a composition that autograd differentiates; away from exact boundaries only."""
    scaled = step * gradient_scale + (step * (1 - gradient_scale)).detach()
    ratio = value / scaled
    if round_first:
        # Not clamp, whose gradient on its very bounds differs between versions of torch.
        rounded = _round(ratio)
        above = torch.where(rounded > q_p, float(q_p), rounded)
        return torch.where(rounded < -q_n, float(-q_n), above) * scaled
    return _round(ratio.clamp(-q_n, q_p)) * scaled


def dequantized_layer(layer: torch.nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Torch's own layer on operands that were dequantized first: what a layer on integer codes has to equal.

    The weight has the layer's own shape.
    """
    return functional_call(layer, {"weight": weight}, x)


def rows(layer: torch.nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """A weight in a layer's own shape as filters of output channels, (out, in / groups, ...), one at a time."""
    if not isinstance(layer, torch.nn.ConvTranspose2d):
        return weight
    return torch.stack([torch.stack([weight[place] for place in places]) for places in _places(layer)])


def from_rows(layer: torch.nn.Module, filters: torch.Tensor) -> torch.Tensor:
    """The inverse of `rows`."""
    if not isinstance(layer, torch.nn.ConvTranspose2d):
        return filters
    places = {place: filters[out, number] for out, ins in enumerate(_places(layer)) for number, place in enumerate(ins)}
    outs = layer.out_channels // layer.groups
    return torch.stack([torch.stack([places[i, out] for out in range(outs)]) for i in range(layer.in_channels)])


def _places(layer: torch.nn.ConvTranspose2d) -> list[list[tuple[int, int]]]:
    """Of each output channel, where the taps of its inputs lie in a weight (in, out / groups, height, width)."""
    outs, ins = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    return [[(out // outs * ins + number, out % outs) for number in range(ins)] for out in range(layer.out_channels)]


def _round(ratio: torch.Tensor) -> torch.Tensor:
    """Nearest integer forward, exactly; identity backward."""
    return ratio.round().detach() + (ratio - ratio.detach())
