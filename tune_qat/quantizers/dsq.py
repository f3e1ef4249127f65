"""DSQ: Differentiable Soft Quantization (Gong et al., ICCV 2019, arXiv 1908.05033).

The forward pass is a hard quantizer on a learned range. The backward pass is the derivative of a soft one with the same
levels: a piece of tanh in each interval, the closer to a stair the smaller `alpha` is.
"""

from typing import Any

import torch
from torch import nn

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.ranges import initial_range

RANGE_MIN = 1e-6
"""Smallest `upper - lower`: keeps the step above 0 for a constant tensor, or after too large an update."""
RANGE_MIN_OF_LOWER = 1e-6
"""The same as a share of |lower|, a few roundings of float32: less would be lost when it is added to `lower`."""
ALPHA_MIN, ALPHA_MAX = 1e-3, 0.5
"""Limits of alpha. Below the lower one, gradients all but vanish away from the middles of intervals, where codes
change; the upper one is the paper's."""


class DSQ(Quantizer):
    """A learned range [lower, upper] and a learned softness alpha, for weights and activations alike.

    Codes are 0 to 2^bits - 1, and the value of code 0 is `lower`, so that no code is signed.
    """

    def __init__(
        self, *, alpha_init: float = 0.2, range: str = "min_max", percentile: float = 99.99, **layer: Any
    ) -> None:
        """Set the initial alpha, how far the soft function stays from the hard one, and the rule of `initial_range`."""
        super().__init__(**layer)
        self._range, self._percentile = range, percentile
        self._set_signed(False)
        self._alpha_init = min(max(alpha_init, ALPHA_MIN), ALPHA_MAX)
        self.lower = nn.Parameter(torch.zeros(()))
        self.upper = nn.Parameter(torch.ones(()))
        self.alpha = nn.Parameter(torch.full((), self._alpha_init))

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return value < self.lower, value > self.upper

    def constrain(self) -> None:
        """Raise `upper` where it is not above `lower`, and keep alpha in its domain."""
        gap = (self.lower.abs() * RANGE_MIN_OF_LOWER).clamp(min=RANGE_MIN)
        self.upper.copy_(torch.maximum(self.upper, self.lower + gap))
        self.alpha.clamp_(ALPHA_MIN, ALPHA_MAX)

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return 0, 2**self.bits - 1

    def _calibrate(self, value: torch.Tensor) -> None:
        """Set the range by its rule: the tensor's minimum and maximum, unless told otherwise."""
        self._set_signed(False)
        lower, upper = initial_range(
            value, self._range, percentile=self._percentile, intervals=self.qmax, from_zero=False
        )
        self.lower.copy_(lower)
        self.upper.copy_(upper)
        self.alpha.fill_(self._alpha_init)
        self.constrain()

    def _codes(self, value: torch.Tensor) -> Codes:
        code: torch.Tensor = _HardForwardSoftBackward.apply(value, self.lower, self.upper, self.alpha, self.qmax)
        return Codes(code, _step(self.lower, self.upper, self.qmax).detach(), self.lower.detach())

    def _value_of(self, code: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return `lower + code * step`, through which both ends of the range get a gradient."""
        return self.lower + code * _step(self.lower, self.upper, self.qmax)


class _HardForwardSoftBackward(torch.autograd.Function):
    """Hard codes with the gradients of the soft quantizer's value with respect to input, lower, upper and alpha.

    With r = (x - l) / Delta, interval i, f = r - i - 1/2 and K = k Delta = ln(2 / alpha - 1), the soft value is
    `Q_S = l + Delta w`, `w = i + (phi + 1) / 2`, `phi = S tanh(K f)`, `S = 1 / tanh(K / 2) = 1 / (1 - alpha)`.
    The number i of the interval is a constant, so K depends on alpha alone and everything else goes through r.
    """

    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, alpha: torch.Tensor, intervals: int
    ) -> torch.Tensor:
        ctx.save_for_backward(value, lower, upper, alpha)
        ctx.intervals = intervals
        ratio, interval = _place(value, lower, _step(lower, upper, intervals), intervals)
        return interval + (ratio - interval >= 0.5)  # the sign of phi; NaN stays NaN

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        value, lower, upper, alpha = ctx.saved_tensors
        step = _step(lower, upper, ctx.intervals)
        ratio, interval = _place(value, lower, step, ctx.intervals)
        soft, slope, by_alpha = _soft(ratio, interval, alpha)
        below, above = value < lower, value > upper
        inside = ~(below | above)
        grad = grads[0] * step.reciprocal()  # gradient of the dequantized value
        by_upper = (soft - ratio * slope) / ctx.intervals  # through Delta
        grad_value = grad_lower = grad_upper = grad_alpha = None
        if ctx.needs_input_grad[0]:
            grad_value = grad * slope * inside
        if ctx.needs_input_grad[1]:
            grad_lower = (grad * torch.where(inside, 1 - slope - by_upper, below)).sum()
        if ctx.needs_input_grad[2]:
            grad_upper = (grad * torch.where(inside, by_upper, above)).sum()
        if ctx.needs_input_grad[3]:
            grad_alpha = (grads[0] * by_alpha * inside).sum()  # the gradient that arrives holds Delta already
        return grad_value, grad_lower, grad_upper, grad_alpha, None


def _step(lower: torch.Tensor, upper: torch.Tensor, intervals: int) -> torch.Tensor:
    return (upper - lower) / intervals


def _place(
    value: torch.Tensor, lower: torch.Tensor, step: torch.Tensor, intervals: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each value's distance from `lower` in steps, within [0, intervals], and the number of its interval.

    Intervals are numbered from 0; the upper end of the range belongs to the last one.
    """
    ratio = ((value - lower) / step).clamp(0, intervals)
    return ratio, ratio.floor().clamp(max=intervals - 1)


def _soft(
    ratio: torch.Tensor, interval: torch.Tensor, alpha: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the soft quantizer's w, in steps above `lower`, and its derivatives with respect to ratio and alpha."""
    sharpness = torch.log(2 / alpha - 1)
    stretch = 1 / (1 - alpha)
    from_middle = ratio - interval - 0.5
    tanh = torch.tanh(sharpness * from_middle)
    # 1 - tanh^2 without the cancellation of a difference, which 1 / alpha would amplify.
    derivative = torch.cosh(sharpness * from_middle).square().reciprocal()
    soft = interval + (stretch * tanh + 1) / 2
    slope = stretch * sharpness / 2 * derivative
    sharpness_by_alpha = -2 / (alpha * (2 - alpha))
    by_alpha = stretch / 2 * (stretch * tanh + sharpness_by_alpha * from_middle * derivative)
    return soft, slope, by_alpha
