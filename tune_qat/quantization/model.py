"""Quantizers in a model: on the weight and the input of every convolution and linear layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat import quantizers
from tune_qat.config import Scheme, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.quantization.bits import Bits
from tune_qat.quantization.gates import gate_layers
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_ops import set_filters
from tune_qat.quantization.multihead import exchange, rebuilt
from tune_qat.quantization.order import (
    LAYERS,
    WITHOUT_CODES,
    evaluating,
    execution_order,
    few,
    other_products,
    refuse_tied,
    refuse_unreached,
    refuse_without_codes,
)
from tune_qat.quantization.products import Product
from tune_qat.quantizers.base import Quantizer

Part = QuantizedLayer | Product
"""A part of a model that has quantizers."""


def quantize(model: nn.Module, scheme: Scheme, example: torch.Tensor) -> nn.Module:
    """Replace every convolution and linear layer of `model` by its quantized form, in place.

    The first and the last layer are those in execution order, found by running `example` (shape (1, ...)). Layers of
    squeeze-and-excitation gates have the first and last layer's bits: they do a hundredth of the work, and each of
    their outputs scales a whole channel. Residual sums, embeddings, norms and softmax stay in floating point, and so do
    the layers that the scheme leaves there. A module that is used in several places is replaced by one quantized layer
    in all of them. Torch's multi-head attention is rebuilt from linear layers first, also at 32/32, which changes
    nothing else. With `attention`, the two products of attention are quantized as layers are, `....qk` and `....av`.

    Returns:
        The model, or its quantized form if the model itself is one layer.

    Raises:
        UsageError: the quantizer does not define a bit width; the model has no layer to quantize, or none that the
            scheme names; `example` does not reach a layer, or gives another output the second time; separate modules
            share a weight; a layer does not compute what a convolution or linear layer of torch does, or does not pad
            with zeros; or attention cannot be quantized.
    """
    quantizers.check_scheme(scheme)
    model = rebuilt(model)
    if scheme.is_float:
        return model
    if scheme.attention:
        _unfuse(model, example)
    calls = execution_order(model, example)
    order = list({id(part): part for part in calls}.values())
    layers = [part for part in order if isinstance(part, LAYERS)]
    if not layers:
        raise UsageError(f"Model {type(model).__name__} has no convolution or linear layer to quantize.")
    names = {id(module): name or type(module).__name__ for name, module in model.named_modules()}
    left = _left(model, scheme, order, names)
    refuse_tied(model, [layer for layer in layers if id(layer) not in left])
    with evaluating(model):
        first_last = {id(layers[0]), id(next(call for call in reversed(calls) if isinstance(call, LAYERS)))}
        first_last |= gate_layers(model, example, LAYERS)
    replaced: dict[int, nn.Module] = {}
    for index, part in enumerate(order):
        bits = Bits(scheme, names[id(part)], first_last=id(part) in first_last)
        if id(part) not in left:
            own = bits.equip(part, index) if isinstance(part, Product) else bits.quantized(part, index)
            replaced[id(part)] = own.to(example.device)
    if not replaced:
        raise UsageError(f"All layers of {type(model).__name__} are left in floating point: [32, 32] says that.")
    return exchange(model, replaced)


def _left(model: nn.Module, scheme: Scheme, order: Sequence[nn.Module], names: Mapping[int, str]) -> set[int]:
    """Return the `id` of each layer that the scheme leaves in floating point; refuse those that would stay so unseen.

    `order` holds the layers that the model runs, and `names` has those of all modules by `id`.
    """
    candidates = [module for module in model.modules() if isinstance(module, (*LAYERS, Product, *WITHOUT_CODES))]
    unreached = [module for module in candidates if module not in order]
    _check_named(scheme, [names[id(part)] for part in (*order, *unreached)])
    left = {id(part) for part in candidates if names[id(part)] in scheme.float_layers}
    # A layer that is left out would stay in floating point, and the record would call the model quantized.
    refuse_without_codes({names[id(part)]: part for part in unreached if id(part) not in left})
    refuse_unreached([names[id(part)] for part in unreached if id(part) not in left])
    return left


def _unfuse(model: nn.Module, example: torch.Tensor) -> None:
    from tune_qat.quantization.attention import SUPPORTED, unfuse  # reads timm

    products = unfuse(model)
    others = few(other_products(model, example))
    if others or not products:
        found = f"these multiply matrices themselves: {others}" if others else "there is none of these"
        raise UsageError(
            f"attention = true quantizes the products of {SUPPORTED}; in {type(model).__name__} {found}. Leave out "
            "attention: the linear layers around the products are quantized all the same."
        )


@torch.no_grad()
def calibrate(model: nn.Module, batch: torch.Tensor) -> None:
    """Initialise every quantizer from one real batch, layer by layer in execution order.

    A layer is calibrated on the output of layers that are quantized already; one that is used several times, on its
    first input. A batch norm that has not seen a batch yet normalises by the statistics of this one, as in the first
    training step: with its initial statistics, ranges would fit other values. Running statistics do not change. Call it
    before the optimizer is built.

    Raises:
        TuneQatError: a value is not finite; the message names the layer.
        UsageError: the batch does not reach a layer.
    """
    parts = quantized_parts(model)
    for part in parts:
        part.calibrating = True
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    fresh = [norm for norm in norms if norm.training and norm.track_running_stats and not norm.num_batches_tracked]
    with evaluating(model), _of_the_batch(fresh):
        model(batch)
    refuse_unreached([part.name for part in parts if part.calibrating])


@torch.no_grad()  # once for all quantizers: entering it for each would take longer than their work
def constrain(constraints: Iterable[Callable[[], None]]) -> None:
    """Bring quantizer parameters and latent weights back into their domain; called after every optimizer step."""
    for bring_back in constraints:
        bring_back()


def constraints(model: nn.Module) -> list[Callable[[], None]]:
    """Return the functions that `constrain` calls: those that quantizers' methods define, without empty defaults."""
    found: list[Callable[[], None]] = []
    for part in quantized_parts(model):
        own = [operand.quantizer for operand in part.operands]
        found += [quantizer.constrain for quantizer in own if type(quantizer).constrain is not Quantizer.constrain]
        if not isinstance(part, QuantizedLayer) or part.weight_quantizer is None:
            continue
        if type(part.weight_quantizer).constrain_weight is not Quantizer.constrain_weight:
            found.append(partial(_constrain_weight, part.weight_quantizer, part))
    return found


def _constrain_weight(quantizer: Quantizer, layer: QuantizedLayer) -> None:
    """Constrain a layer's latent weight in the shape that its quantizer knows, which may be a copy of it."""
    weight = layer.filters
    quantizer.constrain_weight(weight)
    if weight is not layer.layer.weight:
        set_filters(layer.layer, weight)


def quantizers_of(model: nn.Module) -> list[Quantizer]:
    """Return the model's quantizers in execution order, in each layer the weight's before the input's."""
    return [operand.quantizer for part in quantized_parts(model) for operand in part.operands]


def quantized_parts(model: nn.Module) -> list[Part]:
    """Return the model's quantized layers and products in execution order; none at 32/32."""
    found = [module for module in model.modules() if isinstance(module, Part)]
    return sorted((part for part in found if part.name), key=lambda part: part.index)


def quantized_layers(model: nn.Module) -> list[QuantizedLayer]:
    """Return the model's quantized layers in execution order; none at 32/32."""
    return [part for part in quantized_parts(model) if isinstance(part, QuantizedLayer)]


def products(model: nn.Module) -> list[Product]:
    """Return the model's quantized products in execution order; none without `attention`."""
    return [part for part in quantized_parts(model) if isinstance(part, Product)]


def quantized_weights(model: nn.Module) -> list[tuple[Quantizer, QuantizedLayer]]:
    """Return the quantizers of weights with their layers, in execution order."""
    layers = quantized_layers(model)
    return [(layer.weight_quantizer, layer) for layer in layers if layer.weight_quantizer is not None]


def features(model: nn.Module) -> int:
    """Count the inputs of quantized layers and products in one sample, known after calibration."""
    of_products = sum(sum(product.features) for product in products(model))
    return sum(layer.input_features for layer in quantized_layers(model)) + of_products


def _check_named(scheme: Scheme, names: list[str]) -> None:
    for field, named in (("layer_bits", scheme.layer_bits), ("float_layers", scheme.float_layers)):
        for name in named:
            if name not in names:
                raise UsageError(
                    f"{field} names a layer {name!r}, which the model does not have.{did_you_mean(name, names)} "
                    f"Its layers: {', '.join(names)}."
                )


@contextmanager
def _of_the_batch(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let batch norms normalise by the batch without updating their statistics.

    Used inside `evaluating`, which puts their mode back.
    """
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
