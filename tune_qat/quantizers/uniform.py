"""The one operation behind every uniform quantizer: integer codes forward, LSQ's gradients backward.

Written so that a compiler fuses each direction into one pass over the tensor: only the input and the parameters are
saved, everything else is recomputed from them, and the parameters' gradients are summed in the pass that writes the
input's gradient.
"""

from typing import Any

import torch


def codes(
    value: torch.Tensor,
    step: torch.Tensor,
    qmin: int,
    qmax: int,
    *,
    gradient_scale: float = 1.0,
    round_first: bool = False,
    offset: torch.Tensor | None = None,
    offset_gradient_scale: float = 1.0,
    rounding_slope: bool = True,
) -> torch.Tensor:
    """Return integer codes `round(clip((v - o) / s))` with gradients of the dequantized value (LSQ, equations 1 to 3).

    Args:
        value: floating point, any shape.
        step: shape () for the tensor, or of the value's rank with an entry for each channel and 1 elsewhere.
        qmin: smallest code.
        qmax: largest code.
        gradient_scale: factor on the step's gradient (LSQ, section 2.2).
        round_first: whether to round before clipping, as torch, brevitas and MQBench do; this moves the clip point of
            the gradients outwards by half a step.
        offset: shape (), the value of code 0; its gradient comes from the values outside the range (LSQ+).
        offset_gradient_scale: factor on the offset's gradient.
        rounding_slope: whether the step's gradient has the term of values inside the range; without it the step learns
            from clipped values alone, as in PACT.

    Returns:
        Integers in [qmin, qmax] in the value's dtype and shape. The gradient that arrives at them is `s` times that of
        the dequantized value (see `Codes`). Not differentiable twice.
    """
    return _Codes.apply(
        value, step, offset, qmin, qmax, gradient_scale, offset_gradient_scale, round_first, rounding_slope
    )


def slope(
    value: torch.Tensor, step: torch.Tensor, qmin: int, qmax: int, *, gradient_scale: float, round_first: bool = False
) -> torch.Tensor:
    """Return the factor of each code's gradient in the step's gradient: `gradient_scale * (dv_hat / ds) / s`.

    Arguments and shape are those of `codes`. For layers that sum the step's gradient in an order of their own.
    """
    return _by_step(value / step, qmin, qmax, round_first, rounding_slope=True)[1] * (gradient_scale / step)


class _Codes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: torch.Tensor,
        step: torch.Tensor,
        offset: torch.Tensor | None,
        qmin: int,
        qmax: int,
        step_scale: float,
        offset_scale: float,
        round_first: bool,
        rounding_slope: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(value, step, offset)
        ctx.grid, ctx.scales = (qmin, qmax, round_first, rounding_slope), (step_scale, offset_scale)
        return _ratio(value, step, offset).clamp_(qmin, qmax).round_()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        value, step, offset = ctx.saved_tensors
        step_scale, offset_scale = ctx.scales
        inside, by_step = _by_step(_ratio(value, step, offset), *ctx.grid)
        grad_code = grads[0] * step.reciprocal()  # a division per element would take longer than memory access
        # Ahead of the sums: behind them, Inductor would make a second pass for it.
        grad_value = grad_code * inside
        grad_step = grad_offset = None
        if ctx.needs_input_grad[1]:
            grad_step = (grad_code * by_step).sum_to_size(step.shape) * step_scale
        if ctx.needs_input_grad[2]:
            grad_offset = (grad_code * ~inside).sum() * offset_scale
        return grad_value, grad_step, grad_offset, None, None, None, None, None, None


def _ratio(value: torch.Tensor, step: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    return value / step if offset is None else (value - offset) / step


def _by_step(
    ratio: torch.Tensor, qmin: int, qmax: int, round_first: bool, rounding_slope: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mask of values inside the range, and d dequantized value / d step of each value (equation 3)."""
    rounded = ratio.round()
    if round_first:
        inside = (rounded >= qmin) & (rounded <= qmax)
    else:
        # Strict, as in equation 3: a value on an end of the range counts as clipped.
        inside = (ratio > qmin) & (ratio < qmax)
    within = rounded - ratio if rounding_slope else torch.zeros_like(ratio)
    return inside, torch.where(inside, within, rounded.clamp(qmin, qmax))
