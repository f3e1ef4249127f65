"""TTQ: Trained Ternary Quantization (Zhu et al., ICLR 2017, arXiv 1612.01064)."""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

SIZE_MIN = 1e-6
"""Smallest of the two learned sizes: keeps them above 0 after too large an update."""


class TTQ(Quantizer):
    """Weights with the values `-negative`, 0 and `positive`: two learned sizes for the whole layer, both 1 at first.

    A weight becomes 0 if |w| is at most `threshold` times the layer's largest |w|. Each of the two sizes is a scale, so
    that the codes come in two planes: row 2c has those of `positive` in channel c (0 and 1), row 2c + 1 those of
    `negative` (0 and -1).
    """

    def __init__(self, *, threshold: float = 0.05, **layer: Any) -> None:
        """Set the threshold, a share of the layer's largest |w|, below 1."""
        super().__init__(**layer)
        self._threshold = threshold
        self.positive = nn.Parameter(torch.ones(()))
        self.negative = nn.Parameter(torch.ones(()))

    def constrain(self) -> None:
        """Keep both sizes positive."""
        self.positive.clamp_(min=SIZE_MIN)
        self.negative.clamp_(min=SIZE_MIN)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return -1, 1

    def _calibrate(self, value: torch.Tensor) -> None:
        self.positive.fill_(1.0)
        self.negative.fill_(1.0)

    def _codes(self, value: torch.Tensor) -> Codes:
        threshold = self._threshold * value.detach().abs().max()
        code = _Planes.apply(value, self.positive, self.negative, threshold)
        sizes = torch.stack((self.positive.detach(), self.negative.detach()))
        scale = sizes.repeat(value.shape[0]).reshape(-1, *(1,) * (value.dim() - 1))
        return Codes(code, scale, planes=2)


class _Planes(torch.autograd.Function):
    """Codes of both planes, with the gradients of the paper.

    With g the gradient of the dequantized weight, `positive` gets the sum of g over the weights above the threshold.
    `negative` gets minus that over those below, because the value there is `-negative`.
    The latent weight gets `positive * g`, g or `negative * g`, by where it lies.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, threshold: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, positive, negative, threshold)
        none = 0 * weight  # not plain zeros: NaN stays NaN, to show in the loss
        above = torch.where(weight > threshold, 1.0, none)
        below = torch.where(weight < -threshold, -1.0, none)
        return torch.stack((above, below), 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        weight, positive, negative, threshold = ctx.saved_tensors
        of_positive, of_negative = grads[0].unflatten(0, (-1, 2)).unbind(1)
        # Both planes receive g, times their own size. Read from the plane on the weight's side of zero.
        grad = torch.where(weight < 0, of_negative / negative, of_positive / positive)
        above, below = weight > threshold, weight < -threshold
        by_weight = grad * torch.where(above, positive, torch.where(below, negative, 1.0))
        return by_weight, (grad * above).sum(), -(grad * below).sum(), None
