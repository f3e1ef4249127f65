"""Table of a study's layers: what is quantized, to how many bits, and what is left in floating point and why."""

from dataclasses import dataclass

import torch
from torch import nn

from tune_qat.config import LayerCost, Scheme
from tune_qat.quantization.cost import OTHER, quantized_costs
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import Part, quantized_parts
from tune_qat.quantization.order import LAYERS
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.spec import ACTIVATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerLine:
    """Line of the table."""

    layer: str
    type: str
    weight: str
    """Shape of the weight, as 16x6x5x5."""
    parameters: int
    macs: int | None
    """Multiply-accumulates of one sample; None where it multiplies nothing."""
    bits: str
    """Bits of weights and activations, as 4/4; of a product, of its two operands."""
    input: str
    """Signed or unsigned codes of the input."""
    exact: str
    """Whether sums of codes are exact in float32."""
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTable:
    """Layers of a quantized model in execution order, those in floating point behind them."""

    lines: tuple[LayerLine, ...]
    macs: int
    """Multiply-accumulates of one sample in all."""
    outside: int
    """Multiply-accumulates of a sample outside of quantized layers and products."""

    @property
    def share_outside(self) -> float:
        """Share of multiply-accumulates outside of quantized layers and products, from 0 to 1."""
        return self.outside / self.macs if self.macs else 0.0


def layer_table(model: nn.Module, scheme: Scheme, batch: torch.Tensor) -> LayerTable:
    """Quantize a model, calibrate it on a batch, shape (b, ...), and describe its layers. The model is changed.

    Raises:
        UsageError: the model cannot be quantized as the scheme says.
        TuneQatError: a value of the calibration is not finite.
    """
    model, costs = quantized_costs(model, scheme, batch)
    parts = {part.name: part for part in quantized_parts(model)}
    modules = {name or type(module).__name__: module for name, module in model.named_modules()}
    lines = [
        _of_part(parts[cost.layer], cost) if cost.layer in parts else _left(modules[cost.layer], cost, scheme)
        for cost in costs
        if cost.layer != OTHER
    ]
    outside = sum(cost.macs for cost in costs if cost.layer not in parts)
    return LayerTable(lines=tuple(lines), macs=sum(cost.macs for cost in costs), outside=outside)


def _of_part(part: Part, cost: LayerCost) -> LayerLine:
    weight = part.layer.weight if isinstance(part, QuantizedLayer) else None
    inputs = [operand.quantizer for operand in part.operands if operand.role == ACTIVATIONS or weight is None]
    return _line(
        cost,
        weight="" if weight is None else _shape(weight),
        input=" ".join(dict.fromkeys(map(_sign, inputs))),
        exact="yes" if part.exact else "no",
    )


def _left(module: nn.Module, cost: LayerCost, scheme: Scheme) -> LayerLine:
    """Return the line of a module with parameters of its own that computes in floating point."""
    weight = getattr(module, "weight", None)
    return _line(
        cost,
        weight=_shape(weight) if isinstance(weight, torch.Tensor) else "",
        note=_why_left(module, cost.layer, scheme),
    )


def _line(cost: LayerCost, *, weight: str, input: str = "", exact: str = "", note: str = "") -> LayerLine:
    return LayerLine(
        layer=cost.layer,
        type=cost.type,
        weight=weight,
        parameters=cost.parameters,
        macs=cost.macs or None,
        bits=f"{cost.weight_width}/{cost.input_width}",
        input=input,
        exact=exact,
        note=note,
    )


def _why_left(module: nn.Module, name: str, scheme: Scheme) -> str:
    if name in scheme.float_layers:
        return "left in floating point by quantization.layers"
    if isinstance(module, LAYERS):
        return "the floating-point control" if scheme.is_float else "left in floating point"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embeddings stay in floating point"
    if "norm" in type(module).__name__.lower():
        return "norms stay in floating point"
    return "parameters of no layer stay in floating point"


def _shape(weight: torch.Tensor) -> str:
    return "x".join(map(str, weight.shape))


def _sign(quantizer: Quantizer) -> str:
    return "signed" if quantizer.signed else "unsigned"
