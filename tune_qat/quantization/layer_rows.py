"""State of a model's quantizers after an epoch, for the record."""

from collections.abc import Mapping

import torch
from torch import nn

from tune_qat.config import LayerResult
from tune_qat.quantization.layer import Operand
from tune_qat.quantization.model import Part, quantized_parts
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.spec import WEIGHTS


def layer_results(
    model: nn.Module, of_weights: Mapping[int, Mapping[str, float]] | None = None
) -> tuple[LayerResult, ...]:
    """Return the state of every quantizer, for the record.

    `of_weights` has further columns for the quantizers of weights, by the layer's index.
    """
    known = of_weights or {}
    return tuple(
        _result(part, operand, known.get(part.index, {}) if operand.role == WEIGHTS else {})
        for part in quantized_parts(model)
        for operand in part.operands
    )


@torch.no_grad()
def _result(part: Part, operand: Operand, more: Mapping[str, float]) -> LayerResult:
    quantizer, value = operand.quantizer, operand.example
    return LayerResult(
        layer=part.name,
        layer_index=part.index,
        kind=operand.role,
        bits=quantizer.bits,
        signed=quantizer.signed,
        exact=part.exact,
        numel=operand.numel,
        step_size=quantizer.step_size(value),
        step_size_init=quantizer.step_init,
        **(_weight_statistics(quantizer, value) if operand.role == WEIGHTS else {}),
        **more,
    )


def _weight_statistics(quantizer: Quantizer, weight: torch.Tensor) -> dict[str, float]:
    found = {"quantization_mse": float((quantizer(weight).value - weight).square().mean())}
    clipped = quantizer.clipped(weight)
    if clipped is not None:
        low, high = clipped
        found |= {"clip_fraction_low": float(low.float().mean()), "clip_fraction_high": float(high.float().mean())}
    return found
