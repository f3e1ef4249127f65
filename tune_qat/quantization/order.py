"""Layers in the order in which a model runs them, and what makes a model unfit to be quantized."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tune_qat.config import UsageError
from tune_qat.quantization.products import Product

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Types of layers that have to be quantized; `QuantizedLayer` refuses those that it cannot compute on codes."""
WITHOUT_CODES = (nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
"""Types of layers with weights that cannot be computed on codes."""
SHOWN = 4
"""Most names that one message has."""
_SAME: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4, "equal_nan": True}
"""Tolerance of two outputs of one model: a device may add in another order, and what is drawn differs by far more."""


def execution_order(model: nn.Module, example: torch.Tensor) -> list[nn.Module]:
    """Return the calls of layers and products in evaluation mode, in order; one that is used twice is there twice.

    Raises `UsageError` for a layer that is given more than its input, and for a model whose calls, or whose output,
    change from one run to the next.
    """
    calls: list[nn.Module] = []

    def seen(module: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if isinstance(module, LAYERS) and (len(inputs) != 1 or options):
            given = ", ".join([f"{len(inputs)} by position", *options])
            name = next(name for name, one in model.named_modules() if one is module)
            raise UsageError(f"Layer {name!r} is called with more than its input ({given}): give it that alone.")
        calls.append(module)

    hooks = [
        module.register_forward_pre_hook(seen, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, (*LAYERS, Product))
    ]
    try:
        with torch.no_grad(), evaluating(model):
            first = _leaves(model(example))
            order = list(calls)
            second = _leaves(model(example))
    finally:
        for hook in hooks:
            hook.remove()
    shapes = [[leaf.shape for leaf in leaves] for leaves in (first, second)]
    same = calls == order * 2 and shapes[0] == shapes[1]
    if not same or not all(torch.allclose(one, other, **_SAME) for one, other in zip(first, second, strict=True)):
        raise UsageError(
            f"Model {type(model).__name__} gives another output when it is run again on the same input in evaluation "
            "mode. A forward pass must draw no random number and change no state there (self.training is False)."
        )
    return order


def refuse_without_codes(named: Mapping[str, nn.Module]) -> None:
    """Raise `UsageError` for a layer whose weights would stay in floating point unseen."""
    for name, module in named.items():
        if isinstance(module, WITHOUT_CODES):
            raise UsageError(
                f"Layer {name!r} is a {type(module).__name__}, which cannot be quantized. Leave it in floating point: "
                f'layers = {{ "{name}" = "float" }}.'
            )


def refuse_tied(model: nn.Module, layers: Collection[nn.Module]) -> None:
    """Raise `UsageError` where one of these layers shares its weight with another module."""
    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            owners[id(parameter)].append(name)
    for layer in layers:
        names = owners[id(layer._parameters.get("weight"))]
        if layer._parameters.get("weight") is not None and len(names) > 1:
            raise UsageError(
                f"Modules {', '.join(map(repr, names))} share one weight, and each quantized layer has a grid of its "
                "own. Use one and the same module in all places, give each a weight of its own, or leave them in "
                f'floating point: layers = {{ "{names[-1]}" = "float" }}.'
            )


def refuse_unreached(names: list[str]) -> None:
    """Raise `UsageError` if there is a layer that a forward pass did not reach."""
    if names:
        raise UsageError(
            f"Layers that a forward pass does not reach cannot be quantized: {few(names)}. Remove them from the "
            f'model, or leave them in floating point: layers = {{ "{names[0]}" = "float" }}.'
        )


def few(names: list[str]) -> str:
    """Return names as a text of a few of them, and how many more there are."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and afterwards each one back in its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def other_products(model: nn.Module, example: torch.Tensor) -> list[str]:
    """Return name and class of each module that multiplies matrices itself, outside of layers and products."""
    names = {id(module): name for name, module in model.named_modules()}
    inside: list[nn.Module] = []
    found: dict[str, None] = {}

    class Watching(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            module = inside[-1]
            if getattr(function, "__name__", "") in _MULTIPLYING and not isinstance(module, (*LAYERS, Product)):
                kind = f"{type(module).__module__}.{type(module).__qualname__}"
                found[f"{names[id(module)] or 'the model'} ({kind})"] = None
            return function(*args, **kwargs or {})

    def enter(module: nn.Module, *_: Any) -> None:
        inside.append(module)

    def leave(*_: Any) -> None:
        inside.pop()

    modules = list(model.modules())
    hooks = [module.register_forward_pre_hook(enter) for module in modules]
    hooks += [module.register_forward_hook(leave) for module in modules]
    try:
        with torch.no_grad(), evaluating(model), Watching():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return list(found)


_MULTIPLYING = (
    *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "addmm", "einsum", "tensordot"),
    *("scaled_dot_product_attention", "multi_head_attention_forward", "bilinear"),
)
"""Names of torch's functions that multiply matrices, and that no layer of `LAYERS` calls."""


def _leaves(output: Any) -> list[torch.Tensor]:
    return [leaf.float() for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
