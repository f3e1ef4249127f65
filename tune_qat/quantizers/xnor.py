"""XNOR-Net (Rastegari et al., ECCV 2016, arXiv 1603.05279), without the scaling factors of its inputs."""

from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, clipped_sign, sign
from tune_qat.quantizers.codes import Codes


class XNORWeight(Quantizer):
    """The sign of each weight times the mean |w| of its filter.

    After every optimizer step the latent weight is centred over its input channels and clipped to [-1, 1], as the
    released code does ahead of every forward pass. The weight that training starts from is not changed.
    """

    def __init__(self, *, gradient: str = "paper", **layer: Any) -> None:
        """Set the gradient: `paper`, or `code` for that of the released code (see `_factor`)."""
        super().__init__(**layer)
        self._as_code = gradient == "code"

    def constrain_weight(self, weight: torch.Tensor) -> None:
        """Subtract from each filter its mean over the input channels (dimension 1), then clip to [-1, 1]."""
        if weight.shape[1] > 1:  # one channel is its own mean, and nothing would be left of it
            weight.sub_(weight.mean(1, keepdim=True))
        weight.clamp_(-1, 1)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return -1, 1

    def _codes(self, value: torch.Tensor) -> Codes:
        size = value.detach().abs().mean(list(range(1, value.dim())), keepdim=True)
        scale = size.clamp(min=SCALE_MIN)
        return Codes(_FilterSign.apply(value, scale, self._factor(value)), scale)

    def _factor(self, weight: torch.Tensor) -> float:
        """Return the factor on the paper's gradient: 1, or that of the released code.

        The latter is the number of weights in a filter times 1 - 1 / channels.
        """
        if not self._as_code:
            return 1.0
        channels = weight.shape[1]
        # One channel is not centred (see `constrain_weight`), and with a factor of 0 it would never learn.
        centred = 1 - 1 / channels if channels > 1 else 1.0
        return weight[0].numel() * centred


class XNORActivation(Quantizer):
    """The sign of each activation; the gradient passes where the activation is within (-1, 1)."""

    def __init__(self, **layer: Any) -> None:
        super().__init__(**layer)
        self._set_signed(True)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return -1, 1

    def _codes(self, value: torch.Tensor) -> Codes:
        return Codes(clipped_sign(value, closed=False), value.new_ones(()))


class _FilterSign(torch.autograd.Function):
    """The sign with the gradient `g (1/n + A 1{|w| < 1})`, times `factor`.

    g is the gradient of the dequantized weight, n the number of weights in a filter, and A their mean |w|.
    """

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, scale: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(value, scale)
        ctx.factor = factor
        return sign(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        value, scale = ctx.saved_tensors
        # The gradient that arrives is A g.
        slope = (value.abs() < 1) + 1 / (value[0].numel() * scale)
        return grads[0] * slope * ctx.factor, None, None
