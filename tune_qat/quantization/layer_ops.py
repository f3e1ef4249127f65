"""The operation of a layer on codes: a convolution or a matrix product, without bias."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Layer = nn.Linear | Convolution | nn.ConvTranspose2d
KNOWN = "Linear, Conv1d, Conv2d, Conv3d and ConvTranspose2d"
"""Types of layers that `operate` computes, in words."""


def filters(layer: Layer) -> torch.Tensor:
    """Return the layer's weight with a row for each output, in the shape (out_channels, in_channels / groups, ...).

    It is the weight itself, but of a transposed convolution, which has (in_channels, out_channels / groups, ...).
    """
    return _transposed(layer.weight, layer.groups) if isinstance(layer, nn.ConvTranspose2d) else layer.weight


@torch.no_grad()
def set_filters(layer: Layer, values: torch.Tensor) -> None:
    """Write values, in the shape of `filters`, into the layer's weight in place."""
    layer.weight.copy_(_transposed(values, layer.groups) if isinstance(layer, nn.ConvTranspose2d) else values)


def operate(layer: Layer, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the layer's convolution or matrix product, without bias, of any inputs and weight of its shapes.

    The weight has the shape of `filters`, with any number of rows that is a multiple of the groups.
    """
    if isinstance(layer, nn.Linear):
        return F.linear(inputs, weight)
    if isinstance(layer, nn.ConvTranspose2d):
        own = _transposed(weight, layer.groups)
        padding: Any = layer.padding  # never a word
        more = layer.output_padding
        return F.conv_transpose2d(inputs, own, None, layer.stride, padding, more, layer.groups, layer.dilation)
    if pads_same(layer):
        from timm.layers.padding import pad_same

        inputs = pad_same(inputs, list(layer.kernel_size), list(layer.stride), list(layer.dilation))
    geometry: Any = (layer.stride, layer.padding, layer.dilation, layer.groups)
    if isinstance(layer, nn.Conv1d):
        return F.conv1d(inputs, weight, None, *geometry)
    if isinstance(layer, nn.Conv3d):
        return F.conv3d(inputs, weight, None, *geometry)
    return F.conv2d(inputs, weight, None, *geometry)


def is_known(layer: nn.Module) -> bool:
    """Return whether `operate` computes what the layer does, bias apart.

    It does for torch's Linear, Conv1d, Conv2d, Conv3d and ConvTranspose2d, for subclasses that override none of their
    computation, for timm's Linear and for its Conv2dSame. That one pads as TensorFlow's "SAME": as much as the image's
    size asks for, and of an odd number of pixels one more below and to the right.
    """
    if isinstance(layer, nn.Linear):
        return type(layer).forward is nn.Linear.forward or _is_timms_linear(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        return type(layer).forward is nn.ConvTranspose2d.forward
    if not isinstance(layer, Convolution) or type(layer)._conv_forward is not _kind(layer)._conv_forward:
        return False
    if not pads_same(layer):
        return True
    from timm.layers.conv2d_same import Conv2dSame

    return type(layer).forward is Conv2dSame.forward


def _is_timms_linear(layer: nn.Linear) -> bool:
    """Return whether a layer is timm's Linear, which differs from torch's under TorchScript alone."""
    from timm.layers.linear import Linear

    return type(layer).forward is Linear.forward


def fan_in(layer: Layer) -> int:
    """Return the largest number of products in one output.

    A transposed convolution with a stride spreads its taps over several outputs: tap t of input i goes to the output
    `i * stride + t * dilation - padding`, and of the taps only every (stride / gcd(stride, dilation))-th meets one.
    """
    inputs = filters(layer)[0].numel()
    if not isinstance(layer, nn.ConvTranspose2d):
        return inputs
    met = 1
    for size, stride, dilation in zip(layer.kernel_size, layer.stride, layer.dilation, strict=True):
        met *= -(-size // (stride // math.gcd(stride, dilation)))
    return inputs // math.prod(layer.kernel_size) * met


def sums_of_inputs(layer: Layer, inputs: torch.Tensor) -> torch.Tensor:
    """Return `operate` with a weight of ones: the sum of the inputs behind each output.

    All channels of a group have the same sums; the shape broadcasts over the output's channels.
    """
    if isinstance(layer, nn.Linear):
        return inputs.sum(-1, keepdim=True)
    ones = inputs.new_ones(layer.groups, *filters(layer).shape[1:])
    sums = operate(layer, inputs, ones)
    if layer.groups == 1:
        return sums
    return sums.repeat_interleave(layer.out_channels // layer.groups, 1 - layer.weight.dim())


def _transposed(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Turn inputs and outputs around within each group: (groups * a, b, ...) becomes (groups * b, a, ...)."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def _kind(layer: Convolution) -> type[Convolution]:
    """Return torch's own class of a convolution, which may be a subclass."""
    for kind in (nn.Conv1d, nn.Conv2d):
        if isinstance(layer, kind):
            return kind
    return nn.Conv3d


def pads_same(layer: Convolution) -> bool:
    """Return whether a known layer is timm's Conv2dSame, without importing timm."""
    return type(layer).forward is not _kind(layer).forward


def weight_gradient(layer: Layer, inputs: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Return the gradient of `sum(grad * operate(layer, inputs, weight))` with respect to the weight, in its shape.

    The gradient does not depend on the weight's values. For layers that `can_operate_on_data`.
    """
    if isinstance(layer, nn.Linear):
        return grad.flatten(0, -2).T @ inputs.flatten(0, -2)
    # Not torch.nn.grad.conv2d_weight, which passes a weight without a memory format: everything would be copied.
    gradients: tuple[torch.Tensor, ...] = torch.ops.aten.convolution_backward(
        grad,
        inputs,
        weight,
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        False,
        [0] * len(layer.stride),
        layer.groups,
        [False, True, False],
    )
    return gradients[1]


def can_operate_on_data(layer: Layer) -> bool:
    """Return whether `operate_on_data` supports the layer.

    It does not support groups, whose channels would interleave, nor "same" padding, which may be uneven, nor transposed
    convolutions, which are no first layers.
    """
    if isinstance(layer, nn.Linear):
        return True
    if isinstance(layer, nn.ConvTranspose2d):
        return False
    return layer.groups == 1 and not isinstance(layer.padding, str) and not pads_same(layer)


def operate_on_data(
    layer: Layer, inputs: torch.Tensor, weight: torch.Tensor, parameter: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Return `operate(layer, inputs, weight)` for inputs that need no gradient but whose quantizer's parameter does.

    The inputs' gradient is the slowest part of a first layer's backward pass (few channels, large images), and all that
    is needed of it is the parameter's gradient, `sum(grad_inputs * slope)`. The product is linear in both operands, so
    that this equals `sum(weight_gradient(slope) * weight)`, which takes a tenth of the time.

    Args:
        layer: a layer that `can_operate_on_data`.
        inputs: constant codes.
        weight: codes of the weight, which get a gradient.
        parameter: parameter of the input's quantizer, shape ().
        slope: d inputs / d parameter, in the inputs' shape (see `Codes.slopes`).
    """
    return _OnData.apply(layer, inputs, weight, parameter, slope)


class _OnData(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        parameter: torch.Tensor,
        slope: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight, slope)
        ctx.layer = layer
        return operate(layer, inputs, weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, None, torch.Tensor, torch.Tensor, None]:
        inputs, weight, slope = ctx.saved_tensors
        channels = -1 if isinstance(ctx.layer, nn.Linear) else 1
        both = torch.cat([inputs, slope], channels)
        by_code, by_slope = weight_gradient(ctx.layer, both, torch.cat([weight, weight], 1), grads[0]).chunk(2, 1)
        return None, None, by_code, (by_slope * weight).sum(), None
