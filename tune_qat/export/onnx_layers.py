"""Quantizers of a model in terms of ONNX: stored integers, and inputs that pass through an integer tensor.

Only the quantizers are replaced. Layers compute on codes as `QuantizedLayer` does, so that a graph has the sums of
training in the order of training: products of integers, exact in float32, multiplied by the scales afterwards.
"""

import copy
from typing import Any

import torch
from torch import nn

from tune_qat.export.integer_weight import IntegerWeight, integer_weight, parts
from tune_qat.quantization.model import products, quantized_layers
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

OPSET = 21
"""First version of ONNX's operators with 4-bit integers."""
_LARGEST = {torch.int8: (-128, 127), torch.uint8: (0, 255)}


def with_integers(model: nn.Module) -> nn.Module:
    """Return a copy of a trained model whose quantized layers read stored integers; to be traced, not run."""
    copied = copy.deepcopy(model)
    for layer in quantized_layers(copied):
        weight = integer_weight(layer)
        if weight is not None:
            layer.weight_quantizer = StoredWeight(weight)  # type: ignore[assignment]  # a module that gives codes too
        if layer.input_quantizer is not None:
            layer.input_quantizer = IntegerInput(layer.input_quantizer)  # type: ignore[assignment]
    for product in products(copied):
        for side in ("left_quantizer", "right_quantizer"):
            quantizer = getattr(product, side)
            setattr(product, side, quantizer and IntegerInput(quantizer))
    return copied


class StoredWeight(nn.Module):
    """Codes of a weight from an integer constant.

    An offset is stored as its sign and its size. If it were a plain constant, onnxruntime would multiply it into the
    weight of ones that sums an input's codes, and these sums, which may be far larger than the outputs, would no longer
    be exact.
    """

    codes: torch.Tensor
    one: torch.Tensor
    scale: torch.Tensor
    offset_sign: torch.Tensor
    offset_size: torch.Tensor

    def __init__(self, weight: IntegerWeight) -> None:
        super().__init__()
        self.bits, self.planes = weight.bits, weight.planes
        channels = weight.codes.shape[0]
        rows = (channels * weight.planes, *(1,) * (weight.codes.dim() - 1))
        self.register_buffer("codes", weight.codes)
        self.register_buffer("one", torch.ones(()))
        self.register_buffer("scale", weight.scale.repeat(channels).reshape(rows) if self.planes > 1 else weight.scale)
        self.has_offset = weight.offset is not None
        if weight.offset is not None:
            self.register_buffer("offset_sign", weight.offset.sign().to(torch.int8))
            self.register_buffer("offset_size", weight.offset.abs().clamp(min=torch.finfo(torch.float32).tiny))

    def forward(self, value: torch.Tensor) -> Codes:
        """Return the stored codes; `value`, the latent weight, is not read."""
        code = _dequantized(self.codes, self.one)
        offset = _dequantized(self.offset_sign, self.offset_size) if self.has_offset else None
        return Codes(parts(code) if self.planes > 1 else code, self.scale, offset, planes=self.planes)


class IntegerInput(nn.Module):
    """Codes of an input, passed on as int8 or uint8.

    On a uniform grid, QuantizeLinear computes them, behind a Clip where the grid is narrower than its type. A value at
    an end of the Clip may be a rounding error away from the last code, and is rounded to it. Other methods keep their
    own arithmetic.
    """

    zero: torch.Tensor
    one: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        with torch.no_grad():
            grid = quantizer(torch.zeros(1, 1))  # no method's grid of activations depends on their values
        self.quantizer = quantizer
        kind = torch.int8 if quantizer.qmin < 0 else torch.uint8
        self.narrow = (quantizer.qmin, quantizer.qmax) != _LARGEST[kind]
        self.register_buffer("low", grid.scale * quantizer.qmin)
        self.register_buffer("high", grid.scale * quantizer.qmax)
        self.register_buffer("zero", torch.zeros((), dtype=kind))
        self.register_buffer("one", torch.ones(()))
        self.register_buffer("scale", grid.scale)
        self.register_buffer("offset", grid.offset)

    def forward(self, value: torch.Tensor) -> Codes:
        """Return the codes of `value`, in its shape."""
        if self.quantizer.uniform:
            shifted = value if self.offset is None else value - self.offset
            clipped = symbolic("Clip", shifted, self.low, self.high, kind=shifted.dtype) if self.narrow else shifted
            quantized, step = clipped, self.scale
        else:
            quantized, step = self.quantizer(value).code, self.one
        integers = symbolic("QuantizeLinear", quantized, step, self.zero, kind=self.zero.dtype)
        return Codes(_dequantized(integers, self.one, self.zero), self.scale, self.offset)


def _dequantized(integers: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    return symbolic("DequantizeLinear", integers, *others, kind=torch.float32)


def symbolic(name: str, *inputs: torch.Tensor, kind: torch.dtype, **attributes: Any) -> torch.Tensor:
    """Return what stands for the output of ONNX's operator `name` in a trace, in the shape of its first input."""
    shape = inputs[0].shape
    found: Any = torch.onnx.ops.symbolic(name, inputs, attributes, dtype=kind, shape=shape, version=OPSET)
    value: torch.Tensor = found
    return value
