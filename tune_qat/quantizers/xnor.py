"""XNOR-Net (Rastegari et al., ECCV 2016, arXiv 1603.05279), without the scaling of its inputs by their own size."""

from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, clipped_sign, sign
from tune_qat.quantizers.codes import Codes


class XNORWeight(Quantizer):
    """The sign of each weight times the mean size of its filter.

    After every step the latent weight is centred over its input channels and clipped to [-1, 1], as the released code
    does ahead of every forward pass. The weight that training starts from is taken as it is.
    """

    def __init__(self, *, gradient: str = "paper", **layer: Any) -> None:
        """`gradient` is `paper` or `code`."""
        super().__init__(**layer)
        self._as_code = gradient == "code"

    def constrain_weight(self, weight: torch.Tensor) -> None:
        """Subtract from each filter its mean over the input channels (dimension 1), then clip to [-1, 1]."""
        if weight.shape[1] > 1:  # one channel is its own mean, and nothing would be left of it
            weight.sub_(weight.mean(1, keepdim=True))
        weight.clamp_(-1, 1)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        del signed
        return -1, 1

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing to set."""

    def _codes(self, value: torch.Tensor) -> Codes:
        size = value.detach().abs().mean(list(range(1, value.dim())), keepdim=True)
        scale = size.clamp(min=SCALE_MIN)
        return Codes(_FilterSign.apply(value, scale, self._factor(value)), scale)

    def _factor(self, weight: torch.Tensor) -> float:
        """The released code multiplies the paper's gradient by the weights of a filter, and by 1 - 1 / channels."""
        if not self._as_code:
            return 1.0
        channels = weight.shape[1]
        # One channel is not centred (see `constrain_weight`), and by this factor it would never learn.
        centred = 1 - 1 / channels if channels > 1 else 1.0
        return weight[0].numel() * centred


class XNORActivation(Quantizer):
    """The sign of each activation; its gradient passes where the activation is within (-1, 1)."""

    def __init__(self, **layer: Any) -> None:
        super().__init__(**layer)
        self._set_signed(True)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        del signed
        return -1, 1

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing to set."""

    def _codes(self, value: torch.Tensor) -> Codes:
        return Codes(clipped_sign(value, closed=False), value.new_ones(()))


class _FilterSign(torch.autograd.Function):
    """The sign, and the gradient `g (1/n + A 1{|w| < 1})` with n weights in a filter and A their mean size."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, scale: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(value, scale)
        ctx.factor = factor
        return sign(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        value, scale = ctx.saved_tensors
        # What arrives is A g.
        slope = (value.abs() < 1) + 1 / (value[0].numel() * scale)
        return grads[0] * slope * ctx.factor, None, None
