"""PACT: Parameterized Clipping Activation (Choi et al., 2018, arXiv 1805.06085)."""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.ranges import initial_range

ALPHA_MIN = 1e-4
"""Smallest clipping level: at 8 bits a step of 4e-7, which float32 still holds beside activations of order 1."""


class PACT(Quantizer):
    """Activations clipped to [0, alpha], with a learned alpha, and rounded to 2^bits equally spaced values.

    Alpha learns from the values that it clips and from weight decay; unlike the step of LSQ, not from rounding errors
    inside the range. Values below 0 become 0.
    """

    decayed = ("alpha",)
    uniform = True

    def __init__(
        self, *, alpha_init: float = 10.0, range: str = "fixed", percentile: float = 99.99, **layer: Any
    ) -> None:
        """Set the initial clipping level: `alpha_init`, or another `range` than `fixed` from the calibration tensor.

        The paper asks for one that is large enough for the dynamic range of the activations, and gives no number.
        """
        super().__init__(**layer)
        self._range, self._percentile = range, percentile
        self._alpha_init = max(alpha_init, ALPHA_MIN)
        self.alpha = nn.Parameter(torch.full((), self._alpha_init))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return value < 0, value > self.alpha

    def constrain(self) -> None:
        self.alpha.clamp_(min=ALPHA_MIN)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return 0, 2**self.bits - 1

    def _calibrate(self, value: torch.Tensor) -> None:
        if self._range == "fixed":
            self.alpha.fill_(self._alpha_init)
            return
        _, upper = initial_range(value, self._range, percentile=self._percentile, intervals=self.qmax, from_zero=True)
        self.alpha.copy_(upper.clamp(min=ALPHA_MIN))

    def _codes(self, value: torch.Tensor) -> Codes:
        step = self.alpha / self.qmax
        return Codes(uniform.codes(value, step, self.qmin, self.qmax, rounding_slope=False), step.detach())
