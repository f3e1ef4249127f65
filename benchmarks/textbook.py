"""The peers: LSQ as people write it, torch's learnable fake quantization, and brevitas' learned scale.

The textbook form is that of zhutmost/lsq-net (quan/quantizer/lsq.py): each step of the formula is an operation of
autograd, values are dequantized, and a layer computes on them. Written anew here.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn import functional

FIRST_LAST_BITS = 8
FakeQuantizer = Callable[[torch.Tensor], torch.Tensor]


def scale_gradient(value: torch.Tensor, scale: float) -> torch.Tensor:
    """The value itself, with its gradient times `scale`."""
    scaled = value * scale
    return (value - scaled).detach() + scaled


def round_straight_through(value: torch.Tensor) -> torch.Tensor:
    """Nearest integer, with the gradient of the value."""
    return (value.round() - value).detach() + value


def fake_quantize(value: torch.Tensor, step: torch.Tensor, qmin: int, qmax: int, gradient_scale: float) -> torch.Tensor:
    """LSQ of a tensor, dequantized: `round(clip(v / s)) * s`; `step` has shape ()."""
    step = scale_gradient(step, gradient_scale)
    return round_straight_through((value / step).clamp(qmin, qmax)) * step


class TextbookLSQ(nn.Module):
    """Fake quantization with a learned step; the first value that it sees decides on sign and step."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.started = False
        self.qmin, self.qmax = 0, 2**bits - 1
        self.step = nn.Parameter(torch.ones(()))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        if not self.started:
            self._start(value.detach())
        scale = (self.qmax * value.numel()) ** -0.5
        return fake_quantize(value, self.step, self.qmin, self.qmax, scale)

    def _start(self, value: torch.Tensor) -> None:
        if value.min() < 0:
            self.qmin, self.qmax = -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        self.step.data.copy_(2 * value.abs().mean() / self.qmax**0.5)
        self.started = True


class TextbookLayer(nn.Module):
    """A convolution or linear layer on fake-quantized input and weight."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, bits: int) -> None:
        super().__init__()
        self.layer = layer
        self.inputs, self.weight = TextbookLSQ(bits), TextbookLSQ(bits)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """As of the layer."""
        layer, value, weight = self.layer, self.inputs(value), self.weight(self.layer.weight)
        if isinstance(layer, nn.Linear):
            return functional.linear(value, weight, layer.bias)
        return functional.conv2d(value, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def quantized(model: nn.Module, bits: int, example: torch.Tensor) -> nn.Module:
    """Every convolution and linear layer replaced in place, first and last at 8 bits, started on `example`."""
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for index, (name, layer) in enumerate(found):
        parent, _, child = name.rpartition(".")
        own_bits = FIRST_LAST_BITS if index in (0, len(found) - 1) else bits
        setattr(model.get_submodule(parent), child, TextbookLayer(layer, own_bits))
    model.to(example.device)
    with torch.no_grad():
        model(example)
    return model


def torch_native(step: torch.Tensor, qmin: int, qmax: int, gradient_scale: float) -> FakeQuantizer:
    """The learnable operation of torch itself, which MQBench's LSQ calls; `step` has shape (1,)."""
    zero_point = torch.zeros(1, device=step.device)
    operation = torch._fake_quantize_learnable_per_tensor_affine
    return lambda value: operation(value, step, zero_point, qmin, qmax, gradient_scale)


def brevitas_problem() -> str:
    """Why brevitas is not measured; empty where it is."""
    return "" if find_spec("brevitas") else "brevitas is not installed"


def brevitas(step: float, bits: int) -> nn.Module:
    """Signed fake quantization by brevitas, its scale a parameter."""
    from brevitas.inject.enum import ScalingImplType
    from brevitas.nn import QuantIdentity
    from brevitas.quant import Int8ActPerTensorFloat

    options: dict[str, Any] = {
        "bit_width": bits,
        "scaling_impl_type": ScalingImplType.PARAMETER,
        "scaling_init": step * 2 ** (bits - 1),  # of the range, not of a step
        "return_quant_tensor": False,
    }
    module: nn.Module = QuantIdentity(act_quant=Int8ActPerTensorFloat, **options)
    return module
