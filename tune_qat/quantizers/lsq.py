"""LSQ: Learned Step Size Quantization (Esser et al., ICLR 2020, arXiv 1902.08153)."""

import math
from typing import Any

import torch
from torch import nn

from tune_qat.config import TuneQatError
from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Codes, Quantizer

STEP_MIN = 1e-6
"""Smallest step: keeps an all-zero tensor and an over-eager optimizer from a step of zero or below."""
SIGNED_BELOW = -1e-6
"""An activation whose calibration batch goes below this is signed."""


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest code, `qmin <= 0 <= qmax`: -Q_N and Q_P of the paper."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def initial_step(value: torch.Tensor, qmax: int) -> torch.Tensor:
    """`2 <|v|> / sqrt(Q_P)` (section 2.1), shape (), at least `STEP_MIN`."""
    return (2 * value.abs().mean() / math.sqrt(qmax)).clamp(min=STEP_MIN)


def gradient_scale(features: int, qmax: int) -> float:
    """`1 / sqrt(N Q_P)` (section 2.2), N the weights of a layer or the features of one sample of its input."""
    return 1 / math.sqrt(features * qmax)


class LSQ(Quantizer):
    """A learned step for one tensor. Weights are signed; activations decide on the calibration batch."""

    def __init__(self, *, bits: int, kind: str, name: str, ste: str) -> None:
        super().__init__()
        self.bits = bits
        self.kind = kind
        self.name = name
        self.calibrated = False
        self.signed = True
        self.qmin, self.qmax = bounds(bits, self.signed)
        self.step_init = 0.0
        self._round_first = ste == "round_then_clip"
        self.step = nn.Parameter(torch.ones(()))

    @torch.no_grad()
    def calibrate(self, value: torch.Tensor) -> None:
        """Decide signedness and set the step in place: the optimizer may hold the parameter already."""
        if not torch.isfinite(value).all():
            raise TuneQatError(
                f"Layer {self.name!r}: its {self.kind} holds values that are not finite, so it cannot be calibrated. "
                "Check the starting checkpoint and the data."
            )
        self._set_signed(self.kind == "weight" or bool(value.min() < SIGNED_BELOW))
        self.step.copy_(initial_step(value, self.qmax))
        self.step_init = float(self.step)
        self.calibrated = True

    def forward(self, value: torch.Tensor) -> Codes:
        """Integer codes of `value`; the batch is no feature of an activation."""
        grid = self._grid(value)
        return Codes(uniform.codes(value, self.step, **grid), self.step.detach())

    def of_data(self, value: torch.Tensor) -> Codes:
        """Codes of a value that needs no gradient, and the slope of the one parameter."""
        grid = self._grid(value)
        step = self.step.detach()
        slope = uniform.slope(value, step, **grid)
        return Codes(uniform.codes(value, step, **grid), step, slopes=((self.step, slope),))

    def _grid(self, value: torch.Tensor) -> dict[str, Any]:
        if not self.calibrated:
            raise TuneQatError(f"Layer {self.name!r}: its {self.kind} quantizer must be calibrated before it is used.")
        features = value.numel() if self.kind == "weight" else value.numel() // value.shape[0]
        return {
            "qmin": self.qmin,
            "qmax": self.qmax,
            "gradient_scale": gradient_scale(features, self.qmax),
            "round_first": self._round_first,
        }

    def constrain(self) -> None:
        """Keep the step positive."""
        self.step.clamp_(min=STEP_MIN)

    def get_extra_state(self) -> dict[str, Any]:
        """What calibration decided, as plain values."""
        return {"calibrated": self.calibrated, "signed": self.signed, "step_init": self.step_init}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The counterpart of `get_extra_state`."""
        self.calibrated, self.step_init = state["calibrated"], state["step_init"]
        self._set_signed(state["signed"])

    def _set_signed(self, signed: bool) -> None:
        self.signed = signed
        self.qmin, self.qmax = bounds(self.bits, signed)
