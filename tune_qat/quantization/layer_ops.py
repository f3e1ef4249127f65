"""The operation of a layer on codes: a convolution or a matrix product, without bias."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Layer = nn.Conv2d | nn.Linear


def operate(layer: Layer, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the layer's convolution or matrix product, without bias, of any inputs and weight of its shapes."""
    if isinstance(layer, nn.Linear):
        return F.linear(inputs, weight)
    if _pads_same(layer):
        from timm.layers.padding import pad_same

        inputs = pad_same(inputs, list(layer.kernel_size), list(layer.stride), list(layer.dilation))
    return F.conv2d(inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def is_known(layer: nn.Module) -> bool:
    """Return whether `operate` computes what the layer does, bias apart.

    It does for torch's Conv2d and Linear, for subclasses that override none of their computation, and for timm's
    Conv2dSame. That one pads as TensorFlow's "SAME": as much as the image's size asks for, and of an odd number of
    pixels one more below and to the right.
    """
    if isinstance(layer, nn.Linear):
        return type(layer).forward is nn.Linear.forward
    if not isinstance(layer, nn.Conv2d) or type(layer)._conv_forward is not nn.Conv2d._conv_forward:
        return False
    if not _pads_same(layer):
        return True
    from timm.layers.conv2d_same import Conv2dSame

    return type(layer).forward is Conv2dSame.forward


def sums_of_inputs(layer: Layer, inputs: torch.Tensor) -> torch.Tensor:
    """Return `operate` with a weight of ones: the sum of the inputs behind each output.

    All channels of a group have the same sums; the shape broadcasts over the output's channels.
    """
    if isinstance(layer, nn.Linear):
        return inputs.sum(-1, keepdim=True)
    ones = inputs.new_ones(layer.groups, *layer.weight.shape[1:])
    sums = operate(layer, inputs, ones)
    return sums if layer.groups == 1 else sums.repeat_interleave(layer.out_channels // layer.groups, -3)


def _pads_same(layer: nn.Conv2d) -> bool:
    """Return whether a known layer is timm's Conv2dSame, without importing timm."""
    return type(layer).forward is not nn.Conv2d.forward


def weight_gradient(layer: Layer, inputs: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Return the gradient of `sum(grad * operate(layer, inputs, weight))` with respect to the weight, in its shape.

    The gradient does not depend on the weight's values.
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
        [0, 0],
        layer.groups,
        [False, True, False],
    )
    return gradients[1]


def can_operate_on_data(layer: Layer) -> bool:
    """Return whether `operate_on_data` supports the layer.

    It does not support groups, whose channels would interleave, nor "same" padding, which may be uneven.
    """
    if isinstance(layer, nn.Linear):
        return True
    return layer.groups == 1 and not isinstance(layer.padding, str) and not _pads_same(layer)


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
