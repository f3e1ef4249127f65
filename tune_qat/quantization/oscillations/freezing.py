"""Iterative weight freezing: a weight that oscillates too often is held at its most frequent code (algorithm 1)."""

import torch
from torch import nn

from tune_qat.config import Freezing
from tune_qat.quantization.model import quantized_layers
from tune_qat.quantization.oscillations.annealing import WARM_UP, annealed
from tune_qat.quantizers.frozen import FrozenCodes

BITS = range(2, 5)
"""Bit widths of weights that are frozen: finer grids do not suffer from oscillations, and one bit has no grid."""


def hold(model: nn.Module, config: Freezing | None) -> None:
    """Give each quantizer of weights of 2 to 4 bits its `FrozenCodes`, if freezing is used.

    Called before a model starts to train, or before its state is loaded.
    """
    for layer in quantized_layers(model) if config is not None else ():
        quantizer, weight = layer.weight_quantizer, layer.filters
        if quantizer is not None and quantizer.bits in BITS:
            quantizer.frozen = FrozenCodes(quantizer(weight).code if quantizer.calibrated else torch.zeros_like(weight))


def threshold(config: Freezing, progress: float) -> float:
    """Return the frequency above which a weight is frozen at this point of the training: infinite until `WARM_UP`."""
    if progress < WARM_UP:
        return float("inf")
    return annealed(config.threshold_start, config.threshold_end, progress)
