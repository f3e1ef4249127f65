"""DoReFa-Net (Zhou et al. 2016, arXiv 1606.06160), without its quantization of gradients."""

from typing import Any

import torch

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, sign, straight_through
from tune_qat.quantizers.codes import Codes


def mapped(weight: torch.Tensor, *, detach_max: bool = False) -> torch.Tensor:
    """Map weights to [0, 1] by `tanh(w) / (2 max |tanh(w)|) + 1/2`: the layer's largest in size lies on an end.

    `detach_max` makes the maximum a constant to autograd; in the paper it has a gradient.
    """
    squashed = weight.tanh()
    largest = squashed.abs().max()
    if detach_max:
        largest = largest.detach()
    # The maximum of a layer of zeros is 0: divided by 1 instead, its gradient stays finite.
    largest = torch.where(largest > SCALE_MIN, largest, 1.0)
    return squashed / (2 * largest) + 0.5


class DoReFaWeight(Quantizer):
    """Weights on 2^k equally spaced values from -1 to 1, none of them 0; for one bit, the sign times the mean |w|.

    The gradient passes the rounding unchanged (straight-through estimator); for k > 1 it then goes through tanh and
    maximum by their derivatives.
    """

    def __init__(self, *, detach_max: bool = False, **layer: Any) -> None:
        """Set how `mapped` treats the maximum; `detach_max` makes no difference at one bit."""
        super().__init__(**layer)
        self._set_signed(self.qmin < 0)
        self._detach_max = detach_max

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return (-1, 1) if self.bits == 1 else (0, 2**self.bits - 1)

    def _codes(self, value: torch.Tensor) -> Codes:
        if self.bits == 1:
            constant = value.detach()
            scale = constant.abs().mean().clamp(min=SCALE_MIN)
            return Codes(straight_through(value, sign(constant), scale), scale)
        code = _Rounded.apply(mapped(value, detach_max=self._detach_max) * self.qmax)
        return Codes(code, value.new_full((), 2 / self.qmax), value.new_full((), -1.0))


class DoReFaActivation(Quantizer):
    """Activations clipped to [0, 1] and rounded to 2^k equally spaced values."""

    uniform = True

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return value < 0, value > 1

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return 0, 2**self.bits - 1

    def _codes(self, value: torch.Tensor) -> Codes:
        step = value.new_full((), 1 / self.qmax)
        return Codes(uniform.codes(value, step, self.qmin, self.qmax), step)


class _Rounded(torch.autograd.Function):
    """Rounding with a straight-through estimator. Nothing is clipped, so the ends of the range pass gradients too."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.round()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0]
