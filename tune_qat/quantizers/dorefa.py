"""DoReFa-Net (Zhou et al. 2016, arXiv 1606.06160), without its quantization of gradients."""

from typing import Any

import torch

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.binary import SCALE_MIN, sign, straight_through
from tune_qat.quantizers.codes import Codes


def mapped(weight: torch.Tensor, *, detach_max: bool = False) -> torch.Tensor:
    """`tanh(w) / (2 max |tanh(w)|) + 1/2`: weights in [0, 1], the largest of the layer on an end.

    `detach_max` makes the maximum a constant to autograd; as published it is none.
    """
    squashed = weight.tanh()
    largest = squashed.abs().max()
    if detach_max:
        largest = largest.detach()
    # A layer of zeros has none: divided by 1, its gradient stays one that can be used.
    largest = torch.where(largest > SCALE_MIN, largest, 1.0)
    return squashed / (2 * largest) + 0.5


class DoReFaWeight(Quantizer):
    """Weights in [-1, 1]: 2^k values at equal distances with none at 0, or for one bit the sign times the mean size.

    The gradient passes the rounding unchanged, and with k > 1 the tanh and the maximum by their derivatives.
    """

    def __init__(self, *, detach_max: bool = False, **layer: Any) -> None:
        """`detach_max` makes no difference to one bit."""
        super().__init__(**layer)
        self._set_signed(self.qmin < 0)
        self._detach_max = detach_max

    def _bounds(self, signed: bool) -> tuple[int, int]:
        del signed  # the grid is the same for all
        return (-1, 1) if self.bits == 1 else (0, 2**self.bits - 1)

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing to set."""

    def _codes(self, value: torch.Tensor) -> Codes:
        if self.bits == 1:
            constant = value.detach()
            scale = constant.abs().mean().clamp(min=SCALE_MIN)
            return Codes(straight_through(value, sign(constant), scale), scale)
        code = _Rounded.apply(mapped(value, detach_max=self._detach_max) * self.qmax)
        return Codes(code, value.new_full((), 2 / self.qmax), value.new_full((), -1.0))


class DoReFaActivation(Quantizer):
    """Activations clipped to [0, 1] and rounded to 2^k values at equal distances."""

    uniform = True

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which values lie below 0 and above 1."""
        return value < 0, value > 1

    def _bounds(self, signed: bool) -> tuple[int, int]:
        del signed  # whatever the values are
        return 0, 2**self.bits - 1

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing to set."""

    def _codes(self, value: torch.Tensor) -> Codes:
        step = value.new_full((), 1 / self.qmax)
        return Codes(uniform.codes(value, step, self.qmin, self.qmax), step)


class _Rounded(torch.autograd.Function):
    """The nearest integer, and the gradient unchanged: nothing is clipped, so the ends of the range pass it too."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.round()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0]
