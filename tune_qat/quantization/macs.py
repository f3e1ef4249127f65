"""Multiply-accumulates of a model in floating point, counted while it runs one input."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tune_qat.quantization.order import LAYERS, evaluating

PRODUCTS = ("bmm", "baddbmm", "_scaled_dot_product", "_efficient_attention", "_flash_attention")
"""Operations of products of two activations, which is what attention is made of."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Multiply-accumulates of one input."""

    layers: dict[str, int]
    """Multiply-accumulates of each layer that can be quantized, by its name."""
    total: int
    """Multiply-accumulates of all operations."""
    products: int
    """Multiply-accumulates of products of two activations, which are in `total`."""


@torch.no_grad()
def count(model: nn.Module, example: torch.Tensor) -> Counted:
    """Count the multiply-accumulates of `model` on `example`, shape (1, ...), in evaluation mode.

    By torch's own counter of operations; what each layer does follows from its shapes.
    """
    layers: dict[str, int] = {}
    # Evaluation puts torch's fused encoder aside, in which no layer is called.
    with (
        evaluating(model),
        _without_gradients(model),
        _hooked(model, layers),
        # The counter does not know all fused attention: as single products all of it is counted.
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(example)
    counts = counter.get_flop_counts().get("Global", {})
    by_operation = {str(name).removeprefix("aten."): flops for name, flops in counts.items()}
    products = sum(n for name, n in by_operation.items() if name.startswith(PRODUCTS))
    return Counted(layers=layers, total=sum(by_operation.values()) // 2, products=products // 2)


@contextmanager
def _hooked(model: nn.Module, counts: dict[str, int]) -> Iterator[None]:
    def seen(name: str) -> Any:
        def counted(layer: Any, given: tuple[torch.Tensor], output: torch.Tensor) -> None:
            # Each output is a sum over what one filter, or one row, holds; a transposed one's inputs are in as many.
            places = given[0] if getattr(layer, "transposed", False) else output
            counts[name] = counts.get(name, 0) + places.numel() * layer.weight[0].numel()

        return counted

    layers = [(name or type(module).__name__, module) for name, module in model.named_modules()]
    hooks = [module.register_forward_hook(seen(name)) for name, module in layers if isinstance(module, LAYERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    # The counter follows gradients of what modules are given, which a class token without a graph does not have.
    trained = [one for one in model.parameters() if one.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
