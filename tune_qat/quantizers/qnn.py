"""QNN and BNN: quantized and binarized networks (Hubara et al. 2016, arXiv 1609.07061 and 1602.02830)."""

from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import clipped_sign
from tune_qat.quantizers.codes import Codes


class QNN(Quantizer):
    """Weights or activations on a fixed grid from -1 to 1, without learned or calibrated parameters.

    One bit is the sign. The paper leaves the grid of more bits open: here k bits have 2^k equally spaced values from -1
    to 1, none of them 0, and 0 is rounded up. The gradient is that of a hard tanh, 1 within [-1, 1] with both ends:
    many latent weights lie exactly on an end, where `constrain_weight` puts them, and would never leave it otherwise.
    """

    def __init__(self, **layer: Any) -> None:
        super().__init__(**layer)
        self._set_signed(self.qmin < 0)

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return value < -1, value > 1

    def constrain_weight(self, weight: torch.Tensor) -> None:
        """Clip latent weights to [-1, 1] (1602.02830, algorithm 1)."""
        weight.clamp_(-1, 1)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return (-1, 1) if self.bits == 1 else (0, 2**self.bits - 1)

    def _codes(self, value: torch.Tensor) -> Codes:
        if self.bits == 1:
            return Codes(clipped_sign(value, closed=True), value.new_ones(()))
        code = _OnGrid.apply(value, self.qmax)
        return Codes(code, value.new_full((), 2 / self.qmax), value.new_full((), -1.0))


class _OnGrid(torch.autograd.Function):
    """Codes 0 to `last` for values from -1 to 1, with the gradient of a hard tanh."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, last: int) -> torch.Tensor:
        ctx.save_for_backward(value)
        ctx.last = last
        return ((value.clamp(-1, 1) + 1) * (last / 2)).round()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (value,) = ctx.saved_tensors
        return grads[0] * (ctx.last / 2) * (value.abs() <= 1), None
