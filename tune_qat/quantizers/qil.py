"""QIL: Learning to Quantize Deep Networks by Optimizing Quantization Intervals (Jung et al., CVPR 2019, 1808.05779).

A transformer maps the interval [c - d, c + d] onto [0, 1], prunes what is below and clips what is above; what comes
out of it is rounded. Values stay in [-1, 1]: they are not brought back to the size of the input.
"""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

DISTANCE_MIN = 1e-4
"""Smallest distance, and centre: the slope inside the interval is 0.5 / distance."""
GAMMA_MIN = 1e-2
"""At 0 the transformer would send the whole interval to 1, and below it would turn the order of values around."""
POWER_FLOOR = 1e-6
"""Smallest base of the powers and logarithms in gradients, which are not finite at the pruned end of the interval."""
GAMMA_LEARNED_BITS = 2
"""Where `gamma="auto"` learns it."""


class _QIL(Quantizer):
    """A learned centre and distance."""

    def __init__(self, **layer: Any) -> None:
        super().__init__(**layer)
        self.centre = nn.Parameter(torch.full((), 0.5))
        self.distance = nn.Parameter(torch.full((), 0.5))
        self.gamma: nn.Parameter | None = None

    def constrain(self) -> None:
        """Raise the centre to its minimum, then move the distance: not above the centre, else zeros would not be 0."""
        self.centre.clamp_(min=DISTANCE_MIN)
        self.distance.copy_(torch.minimum(self.distance.clamp(min=DISTANCE_MIN), self.centre))
        if self.gamma is not None:
            self.gamma.clamp_(min=GAMMA_MIN)

    def _calibrate(self, value: torch.Tensor) -> None:
        """The interval from 0 to the largest size: nothing is pruned, and nothing clipped."""
        half = (value.abs().max() / 2).clamp(min=DISTANCE_MIN)
        self.centre.copy_(half)
        self.distance.copy_(half)
        if self.gamma is not None:
            self.gamma.fill_(1)

    def _codes(self, value: torch.Tensor) -> Codes:
        transformed: torch.Tensor = _Transformer.apply(value, self.centre, self.distance, self.gamma, self.signed)
        scale = transformed.new_full((), 1 / self.qmax)
        return Codes(uniform.codes(transformed, scale, self.qmin, self.qmax), scale)


class QILWeight(_QIL):
    """Weights: the interval is of their size, their sign is kept, and at 2 bits the curve inside is learned."""

    def __init__(self, *, gamma: str = "auto", **layer: Any) -> None:
        """`gamma`: `learned`, `fixed` at 1 (then it is no parameter), or `auto`, learned at 2 bits alone."""
        super().__init__(**layer)
        if gamma == "learned" or (gamma == "auto" and self.bits == GAMMA_LEARNED_BITS):
            self.gamma = nn.Parameter(torch.ones(()))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which values lie beyond the interval on the side of the negative and of the positive."""
        highest = self.centre + self.distance
        return value < -highest, value > highest

    def _bounds(self, signed: bool) -> tuple[int, int]:
        largest = 2 ** (self.bits - 1) - 1
        return -largest, largest


class QILActivation(_QIL):
    """Activations: unsigned, straight inside the interval."""

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which values lie below and above the interval."""
        return value < self.centre - self.distance, value > self.centre + self.distance

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return 0, 2**self.bits - 1


class _Transformer(torch.autograd.Function):
    """`sign(w) t^gamma`, `t = (|w| - (c - d)) / 2d` cut to [0, 1]; for activations t, of the value itself.

    The ends belong to the interval here. What rounds the result is strict about its own range, so that at -1, 1 and,
    of activations, 0 no gradient arrives: a ReLU's zeros at `c = d` have none, but a weight of 0 does.
    """

    @staticmethod
    def forward(
        ctx: Any,
        value: torch.Tensor,
        centre: torch.Tensor,
        distance: torch.Tensor,
        gamma: torch.Tensor | None,
        signed: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(value, centre, distance, gamma)
        ctx.signed = signed
        place = _place(value.abs() if signed else value, centre, distance)
        transformed = place if gamma is None else place.pow(gamma)
        return transformed * value.sign() if signed else transformed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        value, centre, distance, gamma = ctx.saved_tensors
        size = value.abs() if ctx.signed else value
        place = _place(size, centre, distance)
        # On sizes, not places: one that is a rounding outside the interval has no gradient, as nothing outside has.
        grad = grads[0] * ((size >= centre - distance) & (size <= centre + distance))
        signed_grad = grad * value.sign() if ctx.signed else grad
        slope = 0.5 / distance
        grad_value = grad_centre = grad_distance = grad_gamma = None
        if gamma is not None:
            base = place.clamp(min=POWER_FLOOR)
            slope = slope * gamma * base.pow(gamma - 1)
            if ctx.needs_input_grad[3]:
                grad_gamma = (signed_grad * base.pow(gamma) * base.log()).sum()
        if ctx.needs_input_grad[0]:
            grad_value = grad * slope
        if ctx.needs_input_grad[1]:
            grad_centre = (signed_grad * -slope).sum()
        if ctx.needs_input_grad[2]:
            # (c - |w|) / d, which outside the interval might not be finite.
            grad_distance = (signed_grad * slope * (1 - 2 * place)).sum()
        return grad_value, grad_centre, grad_distance, grad_gamma, None


def _place(size: torch.Tensor, centre: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Where in the interval: 0 at its lower end and below, 1 at its upper end and above."""
    return ((size - (centre - distance)) / (2 * distance)).clamp(0, 1)
