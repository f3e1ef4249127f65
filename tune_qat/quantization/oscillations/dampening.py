"""Oscillation dampening: a loss that pulls weights to the middles of their bins."""

import torch

from tune_qat.config import Dampening
from tune_qat.quantization.oscillations.annealing import annealed
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes


def factor(config: Dampening, progress: float) -> float:
    """What the loss is multiplied by at this point of the training: 0 for its first quarter."""
    return annealed(0.0, config.weight, progress)


def dampening_loss(weight: torch.Tensor, codes: Codes, qmin: int, qmax: int) -> torch.Tensor:
    """`(w_hat - clip(w))^2`, summed over output channels and averaged over the other dimensions; shape ().

    The quantized weights and the ends of the grid are constants, so that the gradient is that of latent weights inside
    the range alone. The factors of the paper's recipes are for this way of adding up, which is its code's.

    Args:
        weight: latent, dimension 0 the output channels.
        codes: of this weight, on one plane.
        qmin: smallest code.
        qmax: largest code.
    """
    scale = codes.scale.detach()
    offset = 0.0 if codes.offset is None else codes.offset.detach()
    clipped = torch.clamp(weight, qmin * scale + offset, qmax * scale + offset)
    return (codes.value - clipped).square().sum(0).mean()


def penalty(pairs: list[tuple[Quantizer, torch.Tensor]]) -> torch.Tensor:
    """The loss summed over layers: quantizers of weights with their weights. Nothing is counted or kept."""
    losses = []
    for quantizer, weight in pairs:
        with torch.no_grad():
            codes = quantizer(weight)
        losses.append(dampening_loss(weight, codes, quantizer.qmin, quantizer.qmax))
    return torch.stack(losses).sum()
