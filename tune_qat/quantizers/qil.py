"""QIL: Learning to Quantize Deep Networks by Optimizing Quantization Intervals (Jung et al., CVPR 2019, 1808.05779).

A transformer maps the interval [c - d, c + d] onto [0, 1], prunes what is below and clips what is above; its output is
rounded. Quantized values lie in [-1, 1]: they are not scaled back to the range of the input.
"""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers import uniform
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.ranges import initial_range

DISTANCE_MIN = 1e-4
"""Smallest distance, and centre: the slope inside the interval is 0.5 / distance."""
GAMMA_MIN = 1e-2
"""Smallest gamma: at 0 the transformer would map the whole interval to 1, and below 0 reverse the order of values."""
POWER_FLOOR = 1e-6
"""Smallest base of the powers and logarithms in gradients, which are not finite at the pruned end of the interval."""
GAMMA_LEARNED_BITS = 2
"""Bit width at which `gamma="auto"` learns gamma."""


class _QIL(Quantizer):
    """A learned interval, given by its centre and its distance (half the width)."""

    def __init__(self, *, range: str = "min_max", percentile: float = 99.99, **layer: Any) -> None:
        super().__init__(**layer)
        self._range, self._percentile = range, percentile
        self.centre = nn.Parameter(torch.full((), 0.5))
        self.distance = nn.Parameter(torch.full((), 0.5))
        self.gamma: nn.Parameter | None = None

    def constrain(self) -> None:
        """Raise the centre to its minimum, then limit the distance: above the centre, zeros would not become 0."""
        self.centre.clamp_(min=DISTANCE_MIN)
        self.distance.copy_(torch.minimum(self.distance.clamp(min=DISTANCE_MIN), self.centre))
        if self.gamma is not None:
            self.gamma.clamp_(min=GAMMA_MIN)

    def _calibrate(self, value: torch.Tensor) -> None:
        """Set the interval to [0, r], which prunes nothing, and gamma to 1.

        Unless told otherwise r is the largest |v|, with which nothing is clipped.
        """
        _, upper = initial_range(
            value.abs(), self._range, percentile=self._percentile, intervals=self.qmax, from_zero=True
        )
        half = (upper / 2).clamp(min=DISTANCE_MIN)
        self.centre.copy_(half)
        self.distance.copy_(half)
        if self.gamma is not None:
            self.gamma.fill_(1)

    def _codes(self, value: torch.Tensor) -> Codes:
        transformed: torch.Tensor = _Transformer.apply(value, self.centre, self.distance, self.gamma, self.signed)
        scale = transformed.new_full((), 1 / self.qmax)
        return Codes(uniform.codes(transformed, scale, self.qmin, self.qmax), scale)


class QILWeight(_QIL):
    """Weights: the interval applies to |w|, the sign is kept, and gamma, the curve inside it, may be learned."""

    def __init__(self, *, gamma: str = "auto", **layer: Any) -> None:
        """Set up gamma: `learned`, `fixed` at 1 (no parameter), or `auto`, which is learned at 2 bits alone."""
        super().__init__(**layer)
        if gamma == "learned" or (gamma == "auto" and self.bits == GAMMA_LEARNED_BITS):
            self.gamma = nn.Parameter(torch.ones(()))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks of the negative and of the positive weights whose size is above the interval."""
        highest = self.centre + self.distance
        return value < -highest, value > highest

    def _bounds(self, signed: bool) -> tuple[int, int]:
        largest = 2 ** (self.bits - 1) - 1
        return -largest, largest


class QILActivation(_QIL):
    """Activations: unsigned, with a transformer that is linear inside the interval."""

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return value < self.centre - self.distance, value > self.centre + self.distance

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return 0, 2**self.bits - 1


class _Transformer(torch.autograd.Function):
    """The transformer `sign(w) t^gamma`, `t = (|w| - (c - d)) / 2d` clipped to [0, 1]; for activations t of the value.

    The ends belong to the interval here. The rounding behind it (`uniform.codes`) passes gradients strictly inside its
    range alone, so that none arrives at -1, at 1 and, for activations, at 0: with `c = d`, a ReLU's zeros get no
    gradient, but a weight of 0 does.
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
        # Compares sizes, not places: a size outside by a rounding error gets no gradient, like all others outside.
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
            # 1 - 2 t is (c - |w|) / d inside the interval; outside of it, the quotient might not be finite.
            grad_distance = (signed_grad * slope * (1 - 2 * place)).sum()
        return grad_value, grad_centre, grad_distance, grad_gamma, None


def _place(size: torch.Tensor, centre: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Return each size's place in the interval: 0 at its lower end and below, 1 at its upper end and above."""
    return ((size - (centre - distance)) / (2 * distance)).clamp(0, 1)
