"""Iterative weight freezing: a weight that oscillates too often is held at its most frequent code (algorithm 1)."""

import torch
from torch import nn

from tune_qat.config import Freezing
from tune_qat.quantization.model import quantized_layers
from tune_qat.quantization.oscillations.annealing import WARM_UP, annealed
from tune_qat.quantization.oscillations.tracking import advance
from tune_qat.quantizers.base import Codes

BITS = range(2, 5)
"""Of weights that are frozen; finer grids do not suffer from oscillations, and one bit has no grid."""


def hold(model: nn.Module, config: Freezing | None) -> None:
    """Make room for what is frozen, where freezing is used: before a model starts to train, or its state is loaded."""
    for layer in quantized_layers(model) if config is not None else ():
        quantizer, weight = layer.weight_quantizer, layer.layer.weight
        if quantizer is not None and quantizer.bits in BITS:
            quantizer.frozen = FrozenCodes(quantizer(weight).code if quantizer.calibrated else torch.zeros_like(weight))


def threshold(config: Freezing, progress: float) -> float:
    """Frequency above which a weight is frozen at this point of the training; infinite in its first quarter."""
    if progress < WARM_UP:
        return float("inf")
    return annealed(config.threshold_start, config.threshold_end, progress)


class FrozenCodes(nn.Module):
    """Which weights of a quantizer are frozen, at which codes, and what decides about the others.

    Everything is in the state of the model. Codes are kept in int8, of which 4 bits or less are stored.
    """

    code: torch.Tensor
    """Where `mask` is set: the integer that stands for the weight in every forward pass, whatever its latent value."""
    mask: torch.Tensor
    previous: torch.Tensor
    direction: torch.Tensor
    frequency: torch.Tensor
    average: torch.Tensor
    """Moving average of the code."""

    def __init__(self, code: torch.Tensor) -> None:
        """`code` holds the integers that training starts from, in the weight's shape; any, if a state is loaded."""
        super().__init__()
        integers = code.detach().to(torch.int8)
        for name, value in {
            "code": integers.clone(),
            "mask": torch.zeros_like(integers, dtype=torch.bool),
            "previous": integers.clone(),
            "direction": torch.zeros_like(integers),
            "frequency": torch.zeros_like(code),
            "average": code.detach().clone(),
        }.items():
            self.register_buffer(name, value)

    def forward(self, codes: Codes, value: torch.Tensor | None) -> Codes:
        """The codes with those of frozen weights in place.

        No gradient reaches a frozen latent weight. That of the parameters of the grid goes through `value`, which has
        the gradient of the frozen codes' values by them; None where they are constants.
        """
        held = self.code.to(codes.code.dtype)
        if value is not None:
            # Nothing is added but a way back: with g the gradient of a code, that of its value is g / scale.
            held = held + (value - value.detach()) / codes.scale
        return codes._replace(code=torch.where(self.mask, held, codes.code))

    @torch.no_grad()
    def observe(self, code: torch.Tensor, momentum: float, limit: float) -> None:
        """Take in the codes of a training forward pass, and freeze from the next one on what oscillated too often.

        Args:
            code: as the pass used them, those of frozen weights included.
            momentum: of the moving averages.
            limit: a frequency above this freezes.
        """
        integers = code.to(torch.int8)
        advance(integers, self.previous, self.direction, self.frequency, momentum)
        new = (self.frequency > limit) & ~self.mask
        # To the average before this step.
        torch.where(new, self.average.round().to(torch.int8), self.code, out=self.code)
        self.mask.logical_or_(new)
        self.average.lerp_(code, momentum)
