"""TWN: Ternary Weight Networks (Li et al. 2016, arXiv 1605.04711)."""

from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, straight_through
from tune_qat.quantizers.codes import Codes


class TWN(Quantizer):
    """Weights of -a, 0 and a: 0 up to a threshold in size, and `a` the mean size of the others, for the whole layer.

    The gradient reaches the latent weight unchanged; threshold and `a` are constants to it.
    """

    def __init__(self, *, threshold: float = 0.7, **layer: Any) -> None:
        """`threshold` is in mean sizes of the layer's weights."""
        super().__init__(**layer)
        self._threshold = threshold

    def _bounds(self, signed: bool) -> tuple[int, int]:
        del signed
        return -1, 1

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing to set."""

    def _codes(self, value: torch.Tensor) -> Codes:
        constant = value.detach()
        size = constant.abs()
        kept = size > self._threshold * size.mean()
        # Multiplied, not selected: a weight that is not a number then shows in the scale.
        scale = ((size * kept).sum() / kept.sum().clamp(min=1)).clamp(min=SCALE_MIN)
        return Codes(straight_through(value, constant.sign() * kept, scale), scale)
