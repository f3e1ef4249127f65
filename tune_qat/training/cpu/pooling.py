"""Max pooling with the values and gradients of `nn.MaxPool2d`, without its slow loops where windows tile the image.

Torch's loop over channels-first images takes 4 ns a pixel, and a compiler makes it slower. For windows that tile the
image, as in small networks, the result is the maximum of strided slices; for others torch's loop stays. A compiler
treats both as one operation.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import _pair


class MaxPool2d(nn.Module):
    """`nn.MaxPool2d` with the window of another."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        self._window = [number for size in sizes for number in _pair(size)]
        self._ceil_mode = pool.ceil_mode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the maxima (b, channels, h', w') of images (b, channels, h, w); b may be left out."""
        maxima: torch.Tensor = _MaxPool2d.apply(images, self._window, self._ceil_mode)
        return maxima


class _MaxPool2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, window: list[int], ceil_mode: bool) -> torch.Tensor:
        ctx.window, ctx.ceil_mode = window, ceil_mode
        maxima, indices = torch.ops.tune_qat.max_pool2d(images, window, ceil_mode)
        ctx.save_for_backward(images, maxima, indices)
        found: torch.Tensor = maxima
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        backward = torch.ops.tune_qat.max_pool2d_backward
        return backward(grads[0], *ctx.saved_tensors, ctx.window, ctx.ceil_mode), None, None


# Not by `custom_op`, whose wrappers take 10 us a call. Gradients are the matter of `_MaxPool2d`.
torch.library.define("tune_qat::max_pool2d", "(Tensor images, int[] window, bool ceil_mode) -> (Tensor, Tensor)")
torch.library.define(
    "tune_qat::max_pool2d_backward",
    "(Tensor grad, Tensor images, Tensor maxima, Tensor indices, int[] window, bool ceil_mode) -> Tensor",
)


@torch.library.impl("tune_qat::max_pool2d", "default")
def max_pool2d(images: torch.Tensor, window: list[int], ceil_mode: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maxima, and for the backward pass torch's indices: an empty tensor if the windows tile the image.

    Args:
        images: shape (b, channels, h, w), or without b.
        window: height and width of kernel, stride, padding and dilation.
        ceil_mode: whether windows that begin inside the image and end outside of it count.
    """
    if not _tiles(images, window):
        found: tuple[torch.Tensor, torch.Tensor] = torch.ops.aten.max_pool2d_with_indices(
            images, *_pairs(window), ceil_mode
        )
        return found
    height, width = window[:2]
    # Rows first: they lie whole in memory, and half as many values are left for the columns, which do not.
    rows = _largest([images[..., top::height, :] for top in range(height)])
    return _largest([rows[..., left::width] for left in range(width)]), images.new_empty(0, dtype=torch.int64)


@torch.library.register_fake("tune_qat::max_pool2d")
def _(images: torch.Tensor, window: list[int], ceil_mode: bool) -> tuple[torch.Tensor, torch.Tensor]:
    maxima, indices = torch.ops.aten.max_pool2d_with_indices(images, *_pairs(window), ceil_mode)
    return maxima, images.new_empty(0, dtype=torch.int64) if _tiles(images, window) else indices


@torch.library.impl("tune_qat::max_pool2d_backward", "default")
def max_pool2d_backward(
    grad: torch.Tensor,
    images: torch.Tensor,
    maxima: torch.Tensor,
    indices: torch.Tensor,
    window: list[int],
    ceil_mode: bool,
) -> torch.Tensor:
    """Return the gradient of the images: a window's goes to its first maximum by rows, with a NaN to its last pixel."""
    height, width = window[:2]
    tiles = _tiles(images, window)
    # With a NaN among the maxima their sum is one, and its whole window gets the gradient, as below.
    if not tiles or (height == width == 2 and not maxima.sum().isnan()):
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        found = _indices(images, maxima) if tiles else indices
        result: torch.Tensor = backward(grad, images, *_pairs(window), ceil_mode, found)
        return result
    corners = [(top, left) for top in range(height) for left in range(width)]
    grad_images = torch.empty_like(images)
    free = torch.ones_like(maxima, dtype=torch.bool)
    for top, left in corners[:-1]:
        hit = (images[..., top::height, left::width] == maxima).logical_and_(free)
        torch.mul(grad, hit, out=grad_images[..., top::height, left::width])
        free.logical_xor_(hit)
    torch.mul(grad, free, out=grad_images[..., height - 1 :: height, width - 1 :: width])
    return grad_images


torch.library.register_fake("tune_qat::max_pool2d_backward", lambda grad, images, *rest: torch.empty_like(images))


def _tiles(images: torch.Tensor, window: list[int]) -> bool:
    kernel, stride, padding, dilation = _pairs(window)
    whole = images.shape[-2] % kernel[0] == 0 and images.shape[-1] % kernel[1] == 0
    return whole and stride == kernel and padding == [0, 0] and dilation == [1, 1]


def _indices(images: torch.Tensor, maxima: torch.Tensor) -> torch.Tensor:
    """Return torch's indices for windows of 2 x 2 that tile: where in its image a window's maximum is, int64.

    Torch's backward pass then writes one gradient a window, which takes half as long as masks for each pixel.
    """
    height, width = images.shape[-2:]
    first = images[..., ::2, ::2] == maxima
    second = images[..., ::2, 1::2] == maxima
    third = images[..., 1::2, ::2] == maxima
    below = torch.logical_or(first, second).logical_not_()
    right = third.logical_not_().logical_and_(below).logical_or_(second.logical_and_(first.logical_not_()))
    # A byte holds the way from the corner, in all but wide images: a small type is what makes this fast.
    kind = torch.uint8 if width < 255 else torch.int64
    corners = torch.arange(0, height * width, 2 * width, device=images.device).unsqueeze(-1)
    corners = corners + torch.arange(0, width, 2, device=images.device)
    return (below.to(kind) * width + right.to(kind)).to(torch.int64).add_(corners)


def _largest(parts: list[torch.Tensor]) -> torch.Tensor:
    largest = parts[0].clone()
    for part in parts[1:]:
        torch.maximum(largest, part, out=largest)
    return largest


def _pairs(window: list[int]) -> list[list[int]]:
    return [window[i : i + 2] for i in range(0, len(window), 2)]
