"""LSQ+: learned step and offset, and their initial values (Bhalgat et al., CVPR Workshops 2020, arXiv 2004.09576)."""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.lsq import LSQ, STEP_MIN, bounds, gradient_scale, initial_step
from tune_qat.quantizers.squared_error import smallest_error

SIGNED_CONFIGURATIONS = ("signed_symmetric", "signed_asymmetric")
"""The paper's configurations 2 and 3; 1 and 4 are the unsigned ones."""
ASYMMETRIC_CONFIGURATIONS = ("signed_asymmetric", "unsigned_asymmetric")


class LSQPlusWeight(LSQ):
    """LSQ's weights, signed and without offset, with another initial step."""

    def __init__(self, *, init: str = "lsq_plus", **options: Any) -> None:
        """Set the rule for the initial step.

        `init` is `lsq_plus` (three standard deviations around the mean), `min_max` (the largest |w|) or `lsq`.
        """
        super().__init__(**options)
        self._init = init

    def _calibrate(self, value: torch.Tensor) -> None:
        self._set_signed(True)
        if self._init == "lsq":
            step = initial_step(value, self.qmax, self.step.shape)
        else:
            largest = _three_deviations if self._init == "lsq_plus" else _largest_size
            step = (largest(value, per_channel=self.step.dim() > 0) / -self.qmin).clamp(min=STEP_MIN)
        self.step.copy_(step)


class LSQPlusActivation(Quantizer):
    """Activations with a learned step and, where the configuration is asymmetric, an offset: the value of code 0."""

    uniform = True

    def __init__(
        self,
        *,
        activations: str = "unsigned_asymmetric",
        offset: str = "learned",
        init: str = "lsq_plus",
        offset_gradient: str = "scaled",
        **layer: Any,
    ) -> None:
        """Set up the step, and the offset that the configuration has.

        Args:
            activations: one of the four configurations of the paper.
            offset: `learned`; `minimum`, fixed so that the lowest value of the initial grid is the smallest one of the
                calibration batch; or `zero`. Read by the asymmetric configurations only.
            init: `lsq_plus` (smallest squared error on the calibration batch), `min_max` or `lsq`.
            offset_gradient: `scaled` like the step's, or `unscaled`.
            layer: arguments of `Quantizer`.
        """
        self._configuration = activations
        super().__init__(**layer)
        self._set_signed(activations in SIGNED_CONFIGURATIONS)
        self._init, self._offset, self._scaled = init, offset, offset_gradient == "scaled"
        self.step = nn.Parameter(torch.ones(()))
        if activations not in ASYMMETRIC_CONFIGURATIONS:
            self.offset = None
        elif offset == "learned":
            self.offset = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("offset", torch.zeros(()))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ratio = (value if self.offset is None else value - self.offset) / self.step
        return ratio < self.qmin, ratio > self.qmax

    def constrain(self) -> None:
        self.step.clamp_(min=STEP_MIN)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return bounds(self.bits, self._configuration in SIGNED_CONFIGURATIONS)

    def _calibrate(self, value: torch.Tensor) -> None:
        learned = self.offset is not None and self._offset == "learned"
        step, offset = self._start(value)
        if self._init == "lsq_plus":
            step, offset = smallest_error(value, step, offset, self.qmin, self.qmax, move_offset=learned)
        self.step.copy_(step.clamp(min=STEP_MIN))
        if self.offset is not None:
            self.offset.copy_(offset)

    def _start(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the step and offset of `lsq`, or else of `min_max`; an offset that is not learned is final here."""
        zero = value.new_zeros(())
        if self._init == "lsq":
            step = initial_step(value, self.qmax)
            return (
                step,
                value.min() - self.qmin * step if self._offset == "minimum" and self.offset is not None else zero,
            )
        low, high = value.min(), value.max()
        if self.offset is not None and self._offset != "zero":
            step = ((high - low) / (self.qmax - self.qmin)).clamp(min=STEP_MIN)
            return step, low - self.qmin * step
        # With the offset at 0, the step alone has to make the range reach both ends.
        below = low / self.qmin if self.qmin else zero
        return torch.maximum(below, high / self.qmax).clamp(min=STEP_MIN), zero

    def _codes(self, value: torch.Tensor) -> Codes:
        scale = gradient_scale(value.numel() // value.shape[0], self.qmax)
        code = uniform.codes(
            value,
            self.step,
            self.qmin,
            self.qmax,
            gradient_scale=scale,
            round_first=self._round_first,
            offset=self.offset,
            offset_gradient_scale=scale if self._scaled else 1.0,
        )
        return Codes(code, self.step.detach(), None if self.offset is None else self.offset.detach())


def _three_deviations(weight: torch.Tensor, *, per_channel: bool) -> torch.Tensor:
    """Return `max(|mean - 3 s|, |mean + 3 s|)` of the signed weights, s their population standard deviation."""
    over = list(range(1, weight.dim())) if per_channel else list(range(weight.dim()))
    deviation, mean = torch.std_mean(weight, over, correction=0, keepdim=per_channel)
    return torch.maximum((mean - 3 * deviation).abs(), (mean + 3 * deviation).abs())


def _largest_size(weight: torch.Tensor, *, per_channel: bool) -> torch.Tensor:
    return weight.abs().amax(list(range(1, weight.dim())), keepdim=True) if per_channel else weight.abs().max()
