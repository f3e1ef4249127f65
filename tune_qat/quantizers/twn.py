"""TWN: Ternary Weight Networks (Li et al. 2016, arXiv 1605.04711)."""

from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, straight_through
from tune_qat.quantizers.codes import Codes


class TWN(Quantizer):
    """Weights with the values -a, 0 and a for the whole layer: 0 up to a threshold of |w|, and a the mean |w| above it.

    The gradient reaches the latent weight unchanged (straight-through estimator); threshold and a are constants to it.
    """

    def __init__(self, *, threshold: float = 0.7, **layer: Any) -> None:
        """Set the threshold, a multiple of the layer's mean |w|."""
        super().__init__(**layer)
        self._threshold = threshold

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return -1, 1

    def _codes(self, value: torch.Tensor) -> Codes:
        constant = value.detach()
        size = constant.abs()
        kept = size > self._threshold * size.mean()
        # Multiplied, not selected: NaN in a weight then shows in the scale.
        scale = ((size * kept).sum() / kept.sum().clamp(min=1)).clamp(min=SCALE_MIN)
        return Codes(straight_through(value, constant.sign() * kept, scale), scale)
