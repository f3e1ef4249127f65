"""Cost of a quantized model for one sample: parameters, multiply-accumulates, bytes and bit operations of each layer.

Bit operations are multiply-accumulates times the bits of weights times those of inputs (Bayesian Bits, van Baalen et
al., NeurIPS 2020, arXiv 2005.07093, appendix B.2; HAWQ-V3 counts the same). 32 bits stand for floating point.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tune_qat.config import FLOAT_BITS, LayerCost, Scheme
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.macs import Counted, count
from tune_qat.quantization.model import Part, calibrate, quantize, quantized_parts
from tune_qat.quantization.multihead import rebuilt
from tune_qat.quantization.order import LAYERS, evaluating
from tune_qat.quantization.products import Product
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import stored_width

OTHER = "(other)"
"""Name of the row for all that is computed outside of layers and products."""
FLOAT_BYTES = 4


def quantized_costs(model: nn.Module, scheme: Scheme, batch: torch.Tensor) -> tuple[nn.Module, tuple[LayerCost, ...]]:
    """Quantize a model, calibrate it on a batch, shape (b, ...), and work out what each layer costs for one sample.

    Returns:
        The quantized model, which the given one has become, and its costs: quantized layers and products in execution
        order, the modules in floating point that have parameters, and what computes outside of them, if anything does.

    Raises:
        UsageError: the model cannot be quantized as the scheme says.
        TuneQatError: a value of the calibration is not finite.
    """
    model = rebuilt(model)
    counted = count(model, batch[:1])
    model = quantize(model, scheme, batch[:1])
    calibrate(model, batch)
    seen = _seen(model, batch[:1])
    parts = quantized_parts(model)
    costs = [_of_part(part, counted, seen[part.name]) for part in parts]
    costs += _in_floating_point(model, parts, counted, seen)
    rest = counted.total - sum(cost.macs for cost in costs)
    return model, (*costs, _of_the_rest(rest, len(costs))) if rest > 0 else tuple(costs)


class _Seen:
    """Sizes of the operands of a layer in one pass: the largest of each, over its calls."""

    def __init__(self) -> None:
        self.operands: tuple[int, ...] = ()
        self.macs = 0

    def add(self, module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        sizes = tuple(one.numel() for one in given)
        self.operands = tuple(map(max, self.operands, sizes)) if self.operands else sizes
        if isinstance(module, Product):
            self.macs += given[0].numel() * given[1].shape[-1]


@torch.no_grad()
def _seen(model: nn.Module, example: torch.Tensor) -> defaultdict[str, _Seen]:
    found: defaultdict[str, _Seen] = defaultdict(_Seen)

    def noted(name: str) -> Any:
        return lambda module, given: found[name].add(module, given)

    hooks = [
        module.register_forward_pre_hook(
            noted(module.name if isinstance(module, Part) else name or type(module).__name__)
        )
        for name, module in model.named_modules()
        if isinstance(module, (QuantizedLayer, Product, *LAYERS))
    ]
    try:
        with evaluating(model):
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _of_part(part: Part, counted: Counted, seen: _Seen) -> LayerCost:
    if isinstance(part, Product):
        widths = _width(part.left_quantizer), _width(part.right_quantizer)
        bits = sum(width * size for width, size in zip(widths, seen.operands, strict=True))
        return _cost(part.name, part.index, part, widths, macs=seen.macs, activation_bits=bits)
    widths = _width(part.weight_quantizer), _width(part.input_quantizer)
    packed, stored = _bytes_of_weights(part)
    return _cost(
        part.name,
        part.index,
        part.layer,
        widths,
        macs=counted.layers.get(part.name, 0),
        activation_bits=widths[1] * max(seen.operands, default=0),
        weight_bytes=packed,
        stored_bytes=stored,
    )


def _bytes_of_weights(layer: QuantizedLayer) -> tuple[int, int]:
    """Return the bytes of a layer's weights packed and as a `.pt` has them, both with biases and scales."""
    weights, quantizer, bias = layer.filters, layer.weight_quantizer, layer.layer.bias
    more = 0 if bias is None else bias.numel()
    if quantizer is None:
        return (FLOAT_BYTES * (weights.numel() + more),) * 2
    codes = quantizer(weights)
    more += codes.planes if codes.planes > 1 else codes.scale.numel()
    more += 0 if codes.offset is None else codes.offset.numel()
    widths = quantizer.bits, stored_width(quantizer.qmin, quantizer.qmax, quantizer.bits)
    packed, stored = (math.ceil(weights.numel() * width / 8) + FLOAT_BYTES * more for width in widths)
    return packed, stored


def _in_floating_point(
    model: nn.Module, parts: list[Part], counted: Counted, seen: defaultdict[str, _Seen]
) -> Iterator[LayerCost]:
    inside = {id(inner) for part in parts for inner in part.modules()}
    left = [
        (name or type(module).__name__, module)
        for name, module in model.named_modules()
        if id(module) not in inside and any(True for _ in module.parameters(recurse=False))
    ]
    for number, (name, module) in enumerate(left, start=len(parts)):
        bytes_ = FLOAT_BYTES * sum(one.numel() for one in module.parameters(recurse=False))
        yield _cost(
            name,
            number,
            module,
            (FLOAT_BITS, FLOAT_BITS),
            macs=counted.layers.get(name, 0),
            activation_bits=FLOAT_BITS * max(seen[name].operands, default=0),
            weight_bytes=bytes_,
            stored_bytes=bytes_,
        )


def _of_the_rest(macs: int, number: int) -> LayerCost:
    return _cost(OTHER, number, None, (FLOAT_BITS, FLOAT_BITS), macs=macs, activation_bits=0)


def _cost(
    name: str,
    number: int,
    module: nn.Module | None,
    widths: tuple[int, int],
    *,
    macs: int,
    activation_bits: int,
    weight_bytes: int = 0,
    stored_bytes: int = 0,
) -> LayerCost:
    own = [] if module is None or isinstance(module, Product) else module.parameters(recurse=False)
    return LayerCost(
        layer=name,
        layer_index=number,
        type="" if module is None else type(module).__name__,
        weight_width=widths[0],
        input_width=widths[1],
        parameters=sum(one.numel() for one in own),
        macs=macs,
        weight_bytes=weight_bytes,
        stored_bytes=stored_bytes,
        activation_bytes=math.ceil(activation_bits / 8),
        bit_operations=macs * widths[0] * widths[1],
    )


def _width(quantizer: Quantizer | None) -> int:
    return FLOAT_BITS if quantizer is None else quantizer.bits
