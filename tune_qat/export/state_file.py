"""A trained model as a dictionary of integer codes, scales and other tensors, loadable with `weights_only=True`.

`docs/export.md` describes the format.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_qat.export.integer_weight import BYTE, integer_weight
from tune_qat.export.trained import Trained
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import products, quantized_layers
from tune_qat.quantization.products import Product
from tune_qat.quantizers.base import Quantizer
from tune_qat.training.checkpoints import save_checkpoint

FORMAT = "tune_qat integer state 1"
GEOMETRY = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
OF_TRANSPOSED = (*GEOMETRY, "output_padding")
OF_LINEAR = ("in_features", "out_features")


def save_state(trained: Trained, path: Path) -> None:
    """Write the model's integer state atomically."""
    save_checkpoint(integer_state(trained), path)


@torch.no_grad()
def integer_state(trained: Trained) -> dict[str, Any]:
    """Return the whole model as the dictionary that `save_state` writes."""
    inside = {
        f"{name}." if name else ""
        for name, module in trained.model.named_modules(remove_duplicate=False)
        if isinstance(module, QuantizedLayer | Product)
    }
    state = trained.model.state_dict()
    return {
        "format": FORMAT,
        "trial_key": trained.trial_key,
        "model": trained.config.model,
        "model_input": trained.model_input.to_dict(),
        "normalisation": trained.normalisation,
        "scheme": trained.config.to_dict()["scheme"],
        **trained.about_source,
        "layers": {layer.name: _layer(layer) for layer in quantized_layers(trained.model)},
        "products": {product.name: _product(product) for product in products(trained.model)},
        "rest": {name: value for name, value in state.items() if not name.startswith(tuple(inside))},
    }


def pack(codes: torch.Tensor, *, minimum: int, stride: int, width: int) -> torch.Tensor:
    """Pack codes of any shape into uint8 of shape (n,): `(code - minimum) / stride` in `width` bits each.

    The first code of a byte is in its lowest bits.
    """
    levels = ((codes.flatten().int() - minimum) // stride).to(torch.uint8)
    each = BYTE // width
    rows = torch.nn.functional.pad(levels, (0, -len(levels) % each)).reshape(-1, each)
    return (rows << torch.arange(0, BYTE, width, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(stored: Mapping[str, Any]) -> torch.Tensor:
    """Return the codes of a stored weight, int16 in the weight's shape: the inverse of `pack`."""
    width, shape = stored["width"], stored["shape"]
    places = torch.arange(0, BYTE, width, dtype=torch.uint8)
    levels = (stored["codes"].unsqueeze(1) >> places) & (2**width - 1)
    found = levels.flatten()[: torch.Size(shape).numel()].reshape(shape).to(torch.int16)
    return found * stored["stride"] + stored["minimum"]


def _layer(layer: QuantizedLayer) -> dict[str, Any]:
    inner = layer.layer
    names = OF_LINEAR if isinstance(inner, nn.Linear) else OF_TRANSPOSED if inner.transposed else GEOMETRY
    described = {name: getattr(inner, name) for name in names}
    return {
        "type": type(inner).__name__,
        **described,
        "weight": _weight(layer),
        "input": _grid(layer.input_quantizer, layer.layer.weight.new_zeros(1, 1)),
        "bias": None if inner.bias is None else inner.bias.detach().clone(),
    }


def _weight(layer: QuantizedLayer) -> dict[str, Any]:
    weight = integer_weight(layer)
    if weight is None:
        return {"bits": 32, "value": layer.filters.detach().clone()}
    grid = {"minimum": weight.minimum, "stride": weight.stride, "width": weight.width}
    return {
        "bits": weight.bits,
        **grid,
        "shape": list(weight.codes.shape),
        "planes": weight.planes,
        "codes": pack(weight.codes, **grid),
        "scale": weight.scale,
        "offset": weight.offset,
    }


def _product(product: Product) -> dict[str, Any]:
    left, right = product.roles
    return {left: _grid(product.left_quantizer, product.zeros), right: _grid(product.right_quantizer, product.zeros)}


def _grid(quantizer: Quantizer | None, zeros: torch.Tensor) -> dict[str, Any]:
    if quantizer is None:
        return {"bits": 32}
    grid = quantizer(zeros)  # no method's grid of activations depends on their values
    return {
        "bits": quantizer.bits,
        "minimum": quantizer.qmin,
        "maximum": quantizer.qmax,
        "scale": grid.scale.clone(),
        "offset": None if grid.offset is None else grid.offset.clone(),
        "uniform": quantizer.uniform,
        "parameters": {name: value.detach().clone() for name, value in quantizer.named_parameters()},
    }
