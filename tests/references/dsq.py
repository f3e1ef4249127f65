"""DSQ in plain Python, from the formulas of Gong et al. (arXiv 1908.05033): middles m_i, k and S written out."""

import math
from collections.abc import Sequence

import torch


def hard(values: Sequence[float], lower: float, upper: float, bits: int) -> list[int]:
    """Codes: the interval's number, and one more where `x - m_i` is not negative."""
    intervals = 2**bits - 1
    delta = (upper - lower) / intervals
    codes = []
    for x in values:
        if x < lower or x > upper:
            codes.append(0 if x < lower else intervals)
            continue
        i = min(math.floor((x - lower) / delta), intervals - 1)
        middle = lower + (i + 0.5) * delta
        codes.append(i + 1 if x >= middle else i)
    return codes


def soft_values(values: Sequence[float], lower: float, upper: float, alpha: float, bits: int) -> list[float]:
    """Q_S of each value."""
    intervals = 2**bits - 1
    delta = (upper - lower) / intervals
    k = math.log(2 / alpha - 1) / delta
    stretch = 1 / math.tanh(0.5 * k * delta)
    outputs = []
    for x in values:
        if x < lower or x > upper:
            outputs.append(lower if x < lower else upper)
            continue
        i = min(math.floor((x - lower) / delta), intervals - 1)
        phi = stretch * math.tanh(k * (x - (lower + (i + 0.5) * delta)))
        outputs.append(lower + delta * (i + (phi + 1) / 2))
    return outputs


def soft(x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, alpha: torch.Tensor, *, bits: int) -> torch.Tensor:
    """The same as a composition that autograd differentiates; the interval's number is a constant."""
    intervals = 2**bits - 1
    delta = (upper - lower) / intervals
    i = ((x - lower) / delta).detach().floor().clamp(0, intervals - 1)
    k = torch.log(2 / alpha - 1) / delta
    stretch = 1 / torch.tanh(0.5 * k * delta)
    phi = stretch * torch.tanh(k * (x - (lower + (i + 0.5) * delta)))
    inside = lower + delta * (i + (phi + 1) / 2)
    return torch.where(x < lower, lower, torch.where(x > upper, upper, inside))


def hard_with_soft_gradient(
    x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, alpha: torch.Tensor, *, bits: int
) -> torch.Tensor:
    """The dequantized hard values forward, the soft function backward."""
    low, high = lower.item(), upper.item()
    codes = torch.tensor(hard(x.flatten().tolist(), low, high, bits), dtype=x.dtype)
    values = low + codes.reshape(x.shape) * (high - low) / (2**bits - 1)
    smooth = soft(x, lower, upper, alpha, bits=bits)
    return values + (smooth - smooth.detach())
