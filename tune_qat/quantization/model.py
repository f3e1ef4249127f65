"""Quantizers in a model: on the weight and the input of every convolution and linear layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat import quantizers
from tune_qat.config import FLOAT_BITS, LayerResult, Scheme, UsageError
from tune_qat.config.lookup import did_you_mean, resolve
from tune_qat.quantization.gates import gate_layers
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.spec import ACTIVATIONS, WEIGHTS

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Types of layers that have to be quantized; `QuantizedLayer` refuses those that it cannot compute on codes."""


def quantize(model: nn.Module, scheme: Scheme, example: torch.Tensor) -> nn.Module:
    """Replace every convolution and linear layer of `model` by its quantized form, in place.

    The first and the last layer are those in execution order, found by running `example` (shape (1, ...)). Layers of
    squeeze-and-excitation gates have the first and last layer's bits: they do a hundredth of the work, and each of
    their outputs scales a whole channel. Residual sums stay in floating point. A module that is used in several places
    is replaced by one quantized layer in all of them. 32/32 leaves the model as it is.

    Returns:
        The model, or its quantized form if the model itself is one layer.

    Raises:
        UsageError: the quantizer does not define a bit width; the model has no layer to quantize, or none that the
            scheme names; `example` does not reach a layer; or a layer does not compute what a Conv2d or Linear does,
            or does not pad with zeros.
    """
    quantizers.check_scheme(scheme)
    if scheme.is_float:
        return model
    order, last = _execution_order(model, example)
    if not order:
        raise UsageError(f"Model {type(model).__name__} has no convolution or linear layer to quantize.")
    # A layer that is left out would stay in floating point, and the record would call the model quantized.
    reached = {id(layer) for layer in order}
    layers = ((name, module) for name, module in model.named_modules() if isinstance(module, LAYERS))
    _refuse_unreached([name for name, module in layers if id(module) not in reached])
    names = {id(module): name or type(module).__name__ for name, module in model.named_modules()}
    _check_named(scheme, [names[id(layer)] for layer in order])
    with _evaluating(model):
        first_last = {id(order[0]), id(last)} | gate_layers(model, example, LAYERS)
    replaced: dict[int, QuantizedLayer] = {}
    for index, layer in enumerate(order):
        quantized = _quantized(layer, names[id(layer)], index, scheme, first_last=id(layer) in first_last)
        replaced[id(layer)] = quantized.to(example.device)
    for parent in list(model.modules()):
        # Not named_children(), which leaves out a second name of the same module.
        for name, child in list(parent._modules.items()):
            if id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
    return replaced[id(model)] if id(model) in replaced else model


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
    layers = quantized_layers(model)
    for layer in layers:
        layer.calibrating = True
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    fresh = [norm for norm in norms if norm.training and norm.track_running_stats and not norm.num_batches_tracked]
    with _evaluating(model), _of_the_batch(fresh):
        model(batch)
    _refuse_unreached([layer.name for layer in layers if layer.calibrating])


@torch.no_grad()  # once for all quantizers: entering it for each would take longer than their work
def constrain(constraints: Iterable[Callable[[], None]]) -> None:
    """Bring quantizer parameters and latent weights back into their domain; called after every optimizer step."""
    for bring_back in constraints:
        bring_back()


def constraints(model: nn.Module) -> list[Callable[[], None]]:
    """Return the functions that `constrain` calls: those that quantizers' methods define, without empty defaults."""
    found: list[Callable[[], None]] = []
    for layer in quantized_layers(model):
        found += [part.constrain for part in _quantizers(layer) if type(part).constrain is not Quantizer.constrain]
        of_weight = layer.weight_quantizer
        if of_weight is not None and type(of_weight).constrain_weight is not Quantizer.constrain_weight:
            found.append(partial(of_weight.constrain_weight, layer.layer.weight))
    return found


def quantizers_of(model: nn.Module) -> list[Quantizer]:
    """Return the model's quantizers in execution order, in each layer the weight's before the input's."""
    return [quantizer for layer in quantized_layers(model) for quantizer in _quantizers(layer)]


def quantized_layers(model: nn.Module) -> list[QuantizedLayer]:
    """Return the model's quantized layers in execution order; none at 32/32."""
    found = (module for module in model.modules() if isinstance(module, QuantizedLayer))
    return sorted(found, key=lambda layer: layer.index)


def layer_results(
    model: nn.Module, of_weights: Mapping[int, Mapping[str, float]] | None = None
) -> tuple[LayerResult, ...]:
    """Return the state of every quantizer, for the record.

    `of_weights` has further columns for the quantizers of weights, by the layer's index.
    """
    known = of_weights or {}
    return tuple(
        _result(layer, part, known.get(layer.index, {}) if part.kind == WEIGHTS else {})
        for layer in quantized_layers(model)
        for part in _quantizers(layer)
    )


def _execution_order(model: nn.Module, example: torch.Tensor) -> tuple[list[nn.Module], nn.Module | None]:
    """Return the layers in the order of their first use, and the layer that is used last."""
    calls: list[nn.Module] = []

    def seen(module: nn.Module, *_: object) -> None:
        calls.append(module)

    hooks = [m.register_forward_pre_hook(seen) for m in model.modules() if isinstance(m, LAYERS)]
    try:
        with torch.no_grad(), _evaluating(model):
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return list({id(layer): layer for layer in calls}.values()), calls[-1] if calls else None


def _check_named(scheme: Scheme, names: list[str]) -> None:
    for name in scheme.layer_bits:
        if name not in names:
            raise UsageError(
                f"layer_bits names a layer {name!r}, which the model does not have.{did_you_mean(name, names)} "
                f"Its layers: {', '.join(names)}."
            )


def _refuse_unreached(names: list[str]) -> None:
    if names:
        raise UsageError(f"Layers that a forward pass does not reach cannot be quantized: {', '.join(names)}.")


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and afterwards each one back in its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _of_the_batch(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let batch norms normalise by the batch without updating their statistics.

    Used inside `_evaluating`, which puts their mode back.
    """
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _quantized(layer: nn.Module, name: str, index: int, scheme: Scheme, *, first_last: bool) -> QuantizedLayer:
    pair = scheme.layer_bits.get(name)

    def make(kind: str, method: str, general: int, own: int | None) -> Quantizer | None:
        used = scheme.first_last_bits if first_last and general < FLOAT_BITS else general
        used = used if own is None else own
        if used >= FLOAT_BITS:
            return None
        side = quantizers.get_spec(method).side(kind)
        assert side is not None  # by check_scheme
        shape = layer.weight.shape if kind == WEIGHTS else None
        options = quantizers.options_of(scheme, kind)
        built: Quantizer = resolve(side.build)(bits=used, kind=kind, name=name, ste=scheme.ste, shape=shape, **options)
        return built

    return QuantizedLayer(
        layer,  # type: ignore[arg-type]  # checked by QuantizedLayer, with a message for people
        name=name,
        index=index,
        weight=make(WEIGHTS, scheme.quantizer, scheme.weight_bits, pair and pair[0]),
        inputs=make(ACTIVATIONS, scheme.activation_quantizer, scheme.activation_bits, pair and pair[1]),
    )


def _quantizers(layer: QuantizedLayer) -> list[Quantizer]:
    return [part for part in (layer.weight_quantizer, layer.input_quantizer) if part is not None]


@torch.no_grad()
def _result(layer: QuantizedLayer, quantizer: Quantizer, more: Mapping[str, float]) -> LayerResult:
    weight = layer.layer.weight
    is_weight = quantizer.kind == WEIGHTS
    return LayerResult(
        layer=layer.name,
        layer_index=layer.index,
        kind=quantizer.kind,
        bits=quantizer.bits,
        signed=quantizer.signed,
        exact=layer.exact,
        numel=weight.numel() if is_weight else layer.input_features,
        # No method's step of activations depends on their values.
        step_size=quantizer.step_size(weight if is_weight else weight.new_zeros(1, 1)),
        step_size_init=quantizer.step_init,
        **(_weight_statistics(quantizer, weight) if is_weight else {}),
        **more,
    )


def _weight_statistics(quantizer: Quantizer, weight: torch.Tensor) -> dict[str, float]:
    found = {"quantization_mse": float((quantizer(weight).value - weight).square().mean())}
    clipped = quantizer.clipped(weight)
    if clipped is not None:
        low, high = clipped
        found |= {"clip_fraction_low": float(low.float().mean()), "clip_fraction_high": float(high.float().mean())}
    return found
