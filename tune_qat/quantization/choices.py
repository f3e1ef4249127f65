"""Layers that bits can be allocated to, those that are quantized at each candidate, and what they and others cost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tune_qat.config import LayerCost, LayerSensitivity, Scheme, UsageError
from tune_qat.quantization.cost import quantized_costs
from tune_qat.quantization.model import quantized_layers


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Layers that bits are allocated to, in execution order, and their costs."""

    layers: tuple[str, ...]
    candidates: tuple[int, ...]
    weights: Mapping[str, int]
    """Number of weights of each layer, without biases; 0 for a product of attention."""
    at: Mapping[tuple[str, int], LayerCost]
    """Cost of a layer at a candidate."""
    fixed_bytes: int
    """Bytes of the weights of everything else."""
    fixed_operations: int
    """Bit operations of everything else."""

    def row(
        self,
        layer: str,
        bits: int,
        sensitivity: float,
        *,
        hessian_trace: float | None = None,
        squared_error: float | None = None,
    ) -> LayerSensitivity:
        """Return the sensitivity of a layer at a candidate with its costs; None where it is not finite."""
        cost = self.at[layer, bits]
        return LayerSensitivity(
            layer=layer,
            layer_index=cost.layer_index,
            bits=bits,
            sensitivity=sensitivity if math.isfinite(sensitivity) else None,
            hessian_trace=hessian_trace,
            squared_error=squared_error,
            weights=self.weights[layer],
            weight_bytes=cost.weight_bytes,
            bit_operations=cost.bit_operations,
        )

    def costs(self, key: str) -> list[list[float]]:
        """Return what layers cost at candidates in the unit of a budget, by its key of the study file."""
        if key == "average_weight_bits":
            return [[self.weights[layer] * bits for bits in self.candidates] for layer in self.layers]
        return [[getattr(self.at[layer, bits], key) for bits in self.candidates] for layer in self.layers]

    def limit(self, key: str, value: float) -> float:
        """Return what a budget leaves for these layers, in the unit of `costs`."""
        if key == "average_weight_bits":
            return value * sum(self.weights.values())
        return value - (self.fixed_bytes if key == "weight_bytes" else self.fixed_operations)

    def ends(self, key: str) -> tuple[float, float]:
        """Return the smallest and the largest budget that makes sense: all layers at one end of the candidates."""
        costs, fixed = self.costs(key), -self.limit(key, 0.0)
        whole = sum(self.weights.values()) if key == "average_weight_bits" else 1
        return (fixed + sum(row[0] for row in costs)) / whole, (fixed + sum(row[-1] for row in costs)) / whole

    def average(self, bits: Mapping[str, int]) -> float:
        """Return the mean number of bits of the weights of these layers."""
        return sum(self.weights[layer] * bits[layer] for layer in self.layers) / sum(self.weights.values())


def choices_of(build: Callable[[], nn.Module], schemes: Mapping[int, Scheme], batch: torch.Tensor) -> Choices:
    """Find the layers whose bits are those of the candidate in each of the schemes, and work out all costs.

    Raises:
        UsageError: there is no such layer, or the model cannot be quantized as a scheme says.
        TuneQatError: a value of the calibration is not finite.
    """
    found: dict[int, dict[str, LayerCost]] = {}
    for bits, scheme in schemes.items():
        model, costs = quantized_costs(build(), scheme, batch)
        found[bits] = {cost.layer: cost for cost in costs}
    layers = _at_candidates(found)
    sizes = {layer.name: layer.filters.numel() for layer in quantized_layers(model)}
    if not any(sizes.get(name) for name in layers):
        raise UsageError(
            "quantization.mixed: there is no layer to allocate bits to: the first and the last layer have bits of the "
            "method, and others those of quantization.layers. Leave out mixed, or take a deeper model."
        )
    rest = [cost for name, cost in found[bits].items() if name not in layers]
    return Choices(
        layers=tuple(layers),
        candidates=tuple(schemes),
        weights={name: sizes.get(name, 0) for name in layers},
        at={(name, bits): found[bits][name] for bits in schemes for name in layers},
        fixed_bytes=sum(cost.weight_bytes for cost in rest),
        fixed_operations=sum(cost.bit_operations for cost in rest),
    )


def _at_candidates(found: Mapping[int, Mapping[str, LayerCost]]) -> Sequence[str]:
    """Return the layers that have the candidate's bits, weights and inputs, at each candidate."""
    first = next(iter(found.values()))
    return [
        name
        for name in first
        if all((costs[name].weight_width, costs[name].input_width) == (bits, bits) for bits, costs in found.items())
    ]
