"""What methods of one or two bits share: a sign that is never zero, and gradients that pass it unchanged or masked."""

from typing import Any

import torch

SCALE_MIN = 1e-12
"""Smallest scale, for a layer of zeros: below the weights of any network, and products with it do not vanish."""


def sign(value: torch.Tensor) -> torch.Tensor:
    """Minus one or one for each entry, one for 0. What is not a number stays so, to show in the loss."""
    return torch.where(value < 0, -1.0, torch.where(value >= 0, 1.0, value))


def clipped_sign(value: torch.Tensor, *, closed: bool) -> torch.Tensor:
    """`sign`, with the gradient of a hard tanh: 1 within [-1, 1], or within (-1, 1) where not `closed`, and 0 outside.

    For a scale of 1. Any shape; not differentiable twice.
    """
    return _ClippedSign.apply(value, closed)


def straight_through(value: torch.Tensor, code: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """`code`, with the gradient of the dequantized value going to `value` as it is.

    Args:
        value: what was quantized, any shape.
        code: its codes, of the same shape and without a gradient.
        scale: above 0 and constant, of a shape that broadcasts. The gradient that arrives here is it times that of the
            dequantized value (see `Codes`).

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
        return code.clone()  # an input as it is would be no output of this function

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (scale,) = ctx.saved_tensors
        return grads[0] / scale, None, None
