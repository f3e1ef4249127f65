"""LSQ: Learned Step Size Quantization (Esser et al., ICLR 2020, arXiv 1902.08153)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

STEP_MIN = 1e-6
"""Smallest step: keeps it above 0 for a tensor of zeros, or after too large an update."""
SIGNED_BELOW = -1e-6
"""Lowest value of a calibration batch with which activations count as unsigned."""


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code, `qmin <= 0 <= qmax`: -Q_N and Q_P of the paper."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def initial_step(value: torch.Tensor, qmax: int, shape: Sequence[int] = ()) -> torch.Tensor:
    """Return the initial step `2 <|v|> / sqrt(Q_P)` (section 2.1), at least `STEP_MIN`.

    `shape` is () for one step, or (out_channels, 1, ...) with the value's rank for one step per output channel.
    """
    mean = value.abs().mean(list(range(1, value.dim())), keepdim=True) if shape else value.abs().mean()
    return (2 * mean / math.sqrt(qmax)).clamp(min=STEP_MIN)


def gradient_scale(features: int, qmax: int) -> float:
    """Return `1 / sqrt(N Q_P)` (section 2.2).

    N, `features`, is the number of weights that share a step, or of features in one sample of the input.
    """
    return 1 / math.sqrt(features * qmax)


class LSQ(Quantizer):
    """A learned step size for a whole tensor, or for each output channel of a weight.

    Weights are signed. Activations are signed where their calibration batch goes below `SIGNED_BELOW`.
    """

    uniform = True

    def __init__(self, *, shape: Sequence[int] | None = None, per_channel: bool = False, **layer: Any) -> None:
        """Set up one step, or with `per_channel` one for each output channel of a weight of this shape."""
        super().__init__(**layer)
        step_shape = (shape[0], *(1,) * (len(shape) - 1)) if per_channel and shape is not None else ()
        self.step = nn.Parameter(torch.ones(step_shape))

    def codes_of_constant(self, value: torch.Tensor) -> Codes:
        """Return constant codes of a value that needs no gradient, with d code / d step in `slopes`."""
        self._check_calibrated()
        grid = self._grid(value)
        step = self.step.detach()
        slope = uniform.slope(value, step, **grid)
        return Codes(uniform.codes(value, step, **grid), step, slopes=((self.step, slope),))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks of the values below and of those above the range, [qmin * step, qmax * step]."""
        ratio = value / self.step
        return ratio < self.qmin, ratio > self.qmax

    def constrain(self) -> None:
        self.step.clamp_(min=STEP_MIN)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return bounds(self.bits, signed)

    def _calibrate(self, value: torch.Tensor) -> None:
        self._set_signed(self.kind == "weight" or bool(value.min() < SIGNED_BELOW))
        self.step.copy_(initial_step(value, self.qmax, self.step.shape))

    def _codes(self, value: torch.Tensor) -> Codes:
        return Codes(uniform.codes(value, self.step, **self._grid(value)), self.step.detach())

    def _value_of(self, code: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return `code * step`, times the gradient scale: only its gradient is used, and scaled as in `forward`."""
        gradient_scale: float = self._grid(value)["gradient_scale"]
        return code * (self.step * gradient_scale)

    def _grid(self, value: torch.Tensor) -> dict[str, Any]:
        """Return the arguments of `uniform.codes` beside value and step.

        N in the gradient scale counts the features of one sample, not of the batch, for an activation, and the weights
        of one channel for a step per channel.
        """
        of_one = self.kind == "activation" or self.step.dim() > 0
        features = value.numel() // value.shape[0] if of_one else value.numel()
        return {
            "qmin": self.qmin,
            "qmax": self.qmax,
            "gradient_scale": gradient_scale(features, self.qmax),
            "round_first": self._round_first,
        }
