"""Squeeze-and-excitation gates (Hu et al., CVPR 2018), found by running a model, not by the names of its blocks."""

from typing import Any

import torch
from torch import nn


def gate_layers(model: nn.Module, example: torch.Tensor, kinds: tuple[type[nn.Module], ...]) -> set[int]:
    """Return the `id` of every layer that computes a gate: a factor in 0..1 for each channel.

    A module is a gate if a (hard) sigmoid is the last of its layers to run, is its direct child, and is not what the
    module returns, which is its input times the sigmoid's output. All of its layers belong to the gate.

    Args:
        model: network that is run once on `example`, in the mode that it is in.
        example: input of shape (1, ...).
        kinds: types of layers to look for.
    """
    gates: set[int] = set()
    last: tuple[nn.Module, Any] = (model, None)

    def ran(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal last
        last = (module, output)

    def ended(module: nn.Module, _: Any, output: Any) -> None:
        final, factors = last
        if _is_sigmoid(final) and any(final is child for child in module.children()) and factors is not output:
            gates.update(id(layer) for layer in module.modules() if isinstance(layer, kinds))

    parents = [module for module in model.modules() if any(_is_sigmoid(child) for child in module.children())]
    if not parents:
        return gates
    hooks = [parent.register_forward_hook(ended) for parent in parents]
    hooks += [
        part.register_forward_hook(ran) for part in model.modules() if _is_sigmoid(part) or isinstance(part, kinds)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return gates


def _is_sigmoid(module: nn.Module) -> bool:
    """Return whether a module is a (hard) sigmoid, by name: the classes of torch, timm and pytorchcv share no base."""
    return type(module).__name__.lower() in ("sigmoid", "hardsigmoid", "hsigmoid")
