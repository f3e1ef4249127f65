"""Oscillation dampening: a loss that pulls weights to the middles of their bins."""

import torch

from tune_qat.config import Dampening
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.oscillations.annealing import annealed
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes


def factor(config: Dampening, progress: float) -> float:
    """Return the factor on the loss at this point of the training (see `annealed`): 0 during its first quarter."""
    return annealed(0.0, config.weight, progress)


def dampening_loss(weight: torch.Tensor, codes: Codes, qmin: int, qmax: int) -> torch.Tensor:
    """Return `(w_hat - clip(w))^2`, summed over output channels and averaged over the other dimensions; shape ().

    The quantized weights and the ends of the grid are constants, so that only latent weights inside the range get a
    gradient. The reduction is that of the paper's code, for which the factors of its recipes are meant.

    Args:
        weight: latent weight, dimension 0 the output channels.
        codes: codes of this weight, on one plane.
        qmin: smallest code.
        qmax: largest code.
    """
    scale = codes.scale.detach()
    offset = 0.0 if codes.offset is None else codes.offset.detach()
    clipped = torch.clamp(weight, qmin * scale + offset, qmax * scale + offset)
    return (codes.value - clipped).square().sum(0).mean()


def penalty(layers: list[tuple[Quantizer, QuantizedLayer]]) -> torch.Tensor:
    """Return the loss summed over layers, shape (); `layers` holds quantizers of weights with their layers."""
    losses = []
    for quantizer, layer in layers:
        weight = layer.filters
        with torch.no_grad():
            codes = quantizer(weight)
        losses.append(dampening_loss(weight, codes, quantizer.qmin, quantizer.qmax))
    return torch.stack(losses).sum()
