"""Sensitivity of a floating-point model's layers to their bits, on training data.

By the Hessian it is the average trace of a layer's block of the Hessian of the loss, its trace over its number of
weights, times the squared error of the quantized weights: the metric of HAWQ-V2 (Dong et al., NeurIPS 2020, arXiv
1911.03852), whose trace is estimated as there, by Hutchinson. A trace below 0 counts as 0. By the loss it is how much
the loss grows when one layer alone is quantized, weights and inputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tune_qat.config import LayerSensitivity, Scheme
from tune_qat.quantization.choices import Choices
from tune_qat.quantization.model import calibrate, quantize, quantized_layers, quantized_parts
from tune_qat.quantization.multihead import rebuilt
from tune_qat.quantization.order import evaluating

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Mean loss of a batch, from output and target."""


def by_hessian(
    build: Callable[[], nn.Module],
    choices: Choices,
    schemes: Mapping[int, Scheme],
    batches: Sequence[Batch],
    loss: Loss,
    *,
    probes: int,
    seed: int,
) -> list[LayerSensitivity]:
    """Measure by the Hessian how sensitive layers are.

    Args:
        build: makes the floating-point model with its weights, on the device of the batches.
        choices: layers that bits are allocated to.
        schemes: scheme with all layers at a candidate, by candidate.
        batches: training data.
        loss: the task's loss.
        probes: random vectors of the estimate.
        seed: seed of these.
    """
    traces = hessian_traces(rebuilt(build()), choices.layers, batches, loss, probes=probes, seed=seed)
    errors = {bits: _squared_errors(build(), scheme, batches[0][0]) for bits, scheme in schemes.items()}
    found = []
    for layer in choices.layers:
        for bits in schemes:
            average = traces[layer] / max(1, choices.weights[layer])
            error = errors[bits][layer]
            found.append(
                choices.row(layer, bits, max(0.0, average) * error, hessian_trace=average, squared_error=error)
            )
    return found


def by_loss(
    build: Callable[[], nn.Module],
    choices: Choices,
    schemes: Mapping[int, Scheme],
    batches: Sequence[Batch],
    loss: Loss,
) -> list[LayerSensitivity]:
    """Measure how far the loss moves when one layer alone is quantized; arguments as of `by_hessian`."""
    before = _mean_loss(build(), batches, loss)
    example = batches[0][0]
    quantized = quantize(build(), next(iter(schemes.values())), example[:1])
    names = [part.name for part in quantized_parts(quantized)]
    left = next(iter(schemes.values())).float_layers
    found = []
    for layer in choices.layers:
        others = tuple(name for name in names if name != layer)
        for bits, scheme in schemes.items():
            alone = replace(scheme, layer_bits={layer: (bits, bits)}, float_layers=(*left, *others))
            model = quantize(build(), alone, example[:1])
            calibrate(model, example)
            found.append(choices.row(layer, bits, _mean_loss(model, batches, loss) - before))
    return found


def hessian_traces(
    model: nn.Module, layers: Sequence[str], batches: Sequence[Batch], loss: Loss, *, probes: int, seed: int
) -> dict[str, float]:
    """Compute each layer's trace of the Hessian of the mean loss by Hutchinson, an estimate by vectors of 1 and -1.

    One product of the whole Hessian with a vector serves all layers: each layer's part of it, times the layer's own
    part of the vector, has the block's trace for its mean. Norms normalise by their running statistics.
    """
    modules = dict(model.named_modules())
    weights = [getattr(modules[name], "weight") for name in layers]  # noqa: B009  of any type of layer
    generator = torch.Generator().manual_seed(seed)
    vectors = [[_signs(weight, generator) for weight in weights] for _ in range(probes)]
    samples = sum(len(inputs) for inputs, _ in batches)
    sums = torch.zeros(len(layers), dtype=torch.float64)
    # Fused attention has no second derivative.
    with evaluating(model), sdpa_kernel(SDPBackend.MATH):
        for inputs, targets in batches:
            value = loss(model(inputs), targets) * (len(inputs) / samples)
            gradients = torch.autograd.grad(value, weights, create_graph=True)
            for vector in vectors:
                products = torch.autograd.grad(
                    gradients, weights, grad_outputs=vector, retain_graph=True, materialize_grads=True
                )
                sums += torch.stack([_inner(*pair) for pair in zip(vector, products, strict=True)])
    return {name: float(total) / probes for name, total in zip(layers, sums, strict=True)}


def _signs(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 2, like.shape, generator=generator).mul_(2).sub_(1).to(like)


def _inner(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.double() * other.double()).sum().cpu()


@torch.no_grad()
def _squared_errors(model: nn.Module, scheme: Scheme, batch: torch.Tensor) -> dict[str, float]:
    """Return the squared error of each layer's quantized weights, summed over them, after calibration."""
    model = quantize(model, scheme, batch[:1])
    calibrate(model, batch)
    return {
        layer.name: float((layer.weight_quantizer(layer.filters).value - layer.filters).double().square().sum())
        for layer in quantized_layers(model)
        if layer.weight_quantizer is not None
    }


@torch.no_grad()
def _mean_loss(model: nn.Module, batches: Sequence[Batch], loss: Loss) -> float:
    samples = sum(len(inputs) for inputs, _ in batches)
    with evaluating(model):
        found = sum(float(loss(model(inputs), targets)) * len(inputs) for inputs, targets in batches)
    return found / samples if math.isfinite(found) else math.inf
