"""Quantized layers as a runtime has them in integer kernels: pairs of quantize and dequantize, with the scales inside.

`onnx_layers` keeps the scales behind the sums, for exactness; here they are where onnxruntime looks for them.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from tune_qat.config import UsageError
from tune_qat.export.integer_weight import IntegerWeight, integer_weight
from tune_qat.export.onnx_layers import symbolic
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_ops import Convolution, operate, pads_same
from tune_qat.quantization.model import products, quantized_layers
from tune_qat.quantizers.base import Quantizer

CODES, SCALE, ZERO = "codes", "weight_scale", "weight_zero"
"""Names of a layer's constants, which the graph has as `LAYER.codes` and so on."""
BIAS = "bias"
LARGEST_BYTE = 255
PAIR_LIMIT = 2**15 - 1
"""Largest sum of two products that processors without VNNI hold (vpmaddubsw: unsigned bytes times signed ones)."""


def check_layers(model: nn.Module) -> None:
    """Raise `UsageError` for a method whose codes are no integers times one scale, and where no layer is quantized."""
    layers = quantized_layers(model)
    for layer in layers:
        _check(layer)
    for product in products(model):
        raise _refused(f"product {product.name!r} of attention has no pair yet")
    if not any(layer.weight_quantizer is not None and layer.input_quantizer is not None for layer in layers):
        raise _refused("it has no layer of which both weight and input are quantized")


def with_pairs(model: nn.Module) -> nn.Module:
    """Return a copy of a trained model whose layers are `RuntimeLayer`; to be traced, not run.

    Raises `UsageError` as `check_layers`.
    """
    check_layers(model)
    copied = copy.deepcopy(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, QuantizedLayer):
            _put(copied, name, RuntimeLayer(module))
    return copied


class RuntimeLayer(nn.Module):
    """A layer that computes on `dequantize(clip(quantize(input)))` and `dequantize(codes)`, with its bias.

    Inputs are uint8 with the smallest code at byte 0, so that the type itself keeps the lower end of the grid and a
    clip on integers the upper one. Weights are int8, or uint8 around 128 where a processor without VNNI would saturate;
    narrow codes are multiplied by a power of two, which the scale takes back. A layer with one quantized operand
    computes in floating point.
    """

    codes: torch.Tensor
    weight_scale: torch.Tensor
    weight_zero: torch.Tensor
    bias: torch.Tensor
    input_scale: torch.Tensor
    input_zero: torch.Tensor
    top: torch.Tensor
    bottom: torch.Tensor

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.layer = layer.layer
        self.has_codes, self.has_pair = layer.weight_quantizer is not None, layer.input_quantizer is not None
        weight, largest = integer_weight(layer), LARGEST_BYTE
        if layer.input_quantizer is not None:
            largest = layer.input_quantizer.qmax - layer.input_quantizer.qmin
            self._set_grid(layer.input_quantizer, largest)
        if weight is not None:
            self._set_weight(weight, largest)
        bias = layer.layer.bias
        outputs = layer.filters.shape[0]
        self.register_buffer(BIAS, torch.zeros(outputs) if bias is None else bias.detach().clone())

    def _set_grid(self, quantizer: Quantizer, largest: int) -> None:
        with torch.no_grad():
            scale = quantizer(torch.zeros(1, 1)).scale  # no method's grid of activations depends on their values
        self.narrow = largest < LARGEST_BYTE
        self.register_buffer("input_scale", scale.detach().clone())
        self.register_buffer("input_zero", torch.tensor(-quantizer.qmin, dtype=torch.uint8))
        self.register_buffer("top", torch.tensor(largest, dtype=torch.uint8))
        self.register_buffer("bottom", torch.tensor(0, dtype=torch.uint8))

    def _set_weight(self, weight: IntegerWeight, largest: int) -> None:
        codes = weight.codes.to(torch.int32).flatten(1)
        used = codes.abs().amax(1, keepdim=True).clamp(min=1)
        limit = min(127, PAIR_LIMIT // (2 * largest))
        kind, zero = (torch.int8, 0) if int(used.max()) <= limit else (torch.uint8, 128)
        # A power of two in the codes of each channel and its inverse in the scale change no value, and make the unit of
        # the sums finer, to which the bias is rounded: with narrow codes it would be off by several percent.
        factor = 2 ** ((limit if zero == 0 else 127) / used).log2().floor().clamp(min=0).to(torch.int32)
        self.register_buffer(CODES, (codes * factor + zero).to(kind).reshape(weight.codes.shape))
        self.register_buffer(SCALE, weight.scale.flatten() / factor.flatten())
        self.register_buffer(ZERO, torch.full((len(codes),), zero, dtype=kind))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, in the shape that the wrapped layer gives."""
        if self.has_pair:
            shape, kind = value, torch.uint8
            integers = symbolic("QuantizeLinear", shape, self.input_scale, self.input_zero, kind=kind)
            if self.narrow:
                integers = symbolic("Clip", integers, self.bottom, self.top, kind=kind)
            value = symbolic("DequantizeLinear", integers, self.input_scale, self.input_zero, kind=torch.float32)
        weight = self.layer.weight
        if self.has_codes:
            constants = (self.codes, self.weight_scale, self.weight_zero)
            weight = symbolic("DequantizeLinear", *constants, kind=torch.float32, axis=0)
        return self._operate(value, weight)

    def _operate(self, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(value, weight, self.bias)
        if isinstance(layer, Convolution) and not pads_same(layer):
            return layer._conv_forward(value, weight, self.bias)
        return operate(layer, value, weight) + self.bias.reshape(-1, *(1,) * (layer.weight.dim() - 2))


def _check(layer: QuantizedLayer) -> None:
    """Raise `UsageError` for a layer whose codes no pair of the runtime computes."""
    weight, quantizer = integer_weight(layer), layer.input_quantizer
    if weight is not None and weight.planes > 1:
        raise _refused(f"the weight of layer {layer.name!r} has {weight.planes} planes with a scale each")
    if weight is not None and weight.offset is not None:
        raise _refused(f"the weight of layer {layer.name!r} has an offset, so that no code is 0")
    if quantizer is None:
        return
    if not quantizer.uniform:
        raise _refused(f"the input of layer {layer.name!r} is not rounded on a uniform grid")
    if getattr(quantizer, "offset", None) is not None:
        raise _refused(f"the input of layer {layer.name!r} has an offset inside, and padding would be no code")


def _refused(why: str) -> UsageError:
    return UsageError(f"This model has no export --for speed: {why}. `--for exact` takes every method.")


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
