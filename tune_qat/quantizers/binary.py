"""Parts shared by methods of one or two bits: a sign that is never zero, and straight-through estimators."""

from typing import Any

import torch

SCALE_MIN = 1e-12
"""Smallest scale, that of a layer of zeros: below the weights of any network, and products with it do not underflow."""


def sign(value: torch.Tensor) -> torch.Tensor:
    """Return -1 or 1 for each entry, 1 for 0. NaN stays NaN, so that it shows in the loss."""
    return torch.where(value < 0, -1.0, torch.where(value >= 0, 1.0, value))


def clipped_sign(value: torch.Tensor, *, closed: bool) -> torch.Tensor:
    """Return `sign(value)` with the gradient of a hard tanh: 1 inside and 0 outside of [-1, 1], or of (-1, 1).

    The interval is closed where `closed` is set. For codes of scale 1; any shape; not differentiable twice.
    """
    return _ClippedSign.apply(value, closed)


def straight_through(value: torch.Tensor, code: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return `code`, and pass the gradient of the dequantized value to `value` unchanged (straight-through estimator).

    Args:
        value: the tensor that was quantized, any shape.
        code: its codes, of the same shape and without a gradient.
        scale: constant, above 0, of a shape that broadcasts. The gradient that arrives at the codes is `scale` times
            that of the dequantized value (see `Codes`).

    Returns:
        The codes; not differentiable twice.
    """
    return _StraightThrough.apply(value, code, scale)


class _ClippedSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, closed: bool) -> torch.Tensor:
        ctx.save_for_backward(value)
        ctx.closed = closed
        return sign(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (value,) = ctx.saved_tensors
        size = value.abs()
        return grads[0] * (size <= 1 if ctx.closed else size < 1), None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, code: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(scale)
        return code.clone()  # autograd does not take an input itself for an output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (scale,) = ctx.saved_tensors
        return grads[0] / scale, None, None
