"""The contract of a quantizer: integer codes and a scale."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn


class Codes(NamedTuple):
    """A quantized tensor: `value = code * scale + offset`.

    `code` holds integers in float32 and carries the whole gradient; `scale` and `offset` are constants to autograd.
    With g the gradient that reaches `code`, the gradient of the value is g / scale: the quantizer's own backward
    turns it into the gradients of its input and of its parameters. So the step-size gradient is summed element by
    element and never taken as the difference of two large sums.
    """

    code: torch.Tensor
    scale: torch.Tensor
    """Shape () per tensor, or (out_channels, 1, ...) per channel."""
    offset: torch.Tensor | None = None
    slopes: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    """Of data: each parameter of shape (), with the factors of the codes' gradients in its own, in the code's shape."""


class Quantizer(nn.Module, ABC):
    """Quantizes one tensor of one layer: its weight or its input.

    Calibrated once on a real tensor before the optimizer exists; using it before that raises.
    """

    name: str
    """Of the layer, for messages."""
    bits: int
    kind: str
    """`weight` or `activation`."""
    calibrated: bool
    signed: bool
    qmin: int
    qmax: int
    step: nn.Parameter
    step_init: float
    """The step that calibration chose."""

    @abstractmethod
    def calibrate(self, value: torch.Tensor) -> None:
        """Choose signedness (activations) and initial parameters from a real tensor (weights, or a whole batch)."""

    @abstractmethod
    def forward(self, value: torch.Tensor) -> Codes:
        """Codes of `value`; for activations, dimension 0 is the batch."""

    @abstractmethod
    def of_data(self, value: torch.Tensor) -> Codes:
        """The same codes for a value that needs no gradient: `slopes` in place of a way back through the codes."""

    @abstractmethod
    def constrain(self) -> None:
        """Bring the parameters back into their domain; called without gradients after every optimizer step."""
