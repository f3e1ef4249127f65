"""Networks of timm by name: which there are, the images that they take, and their modules."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers.linear import Linear
from torch import nn

from tune_qat.data.spec import ModelInput

STRIDE = 32
"""Total stride of most networks, and the smallest image of those that do not say another."""
_SMALLEST = {"inception": 75, "nasnet": 75, "pnasnet": 75, "selecsls": 64}
"""Smallest image by the beginning of the name, where timm does not say it: what is left of smaller ones is nothing."""


def names(network: str = "") -> list[str]:
    """List all names; where the given one has a tag of weights, as `resnet18.a1_in1k`, those with tags of it."""
    architecture, _, tag = network.partition(".")
    tagged = timm.list_models(f"{architecture}.*", include_tags=True) if tag else []
    return [*tagged, *timm.list_models()]


def fixes_size(network: str) -> bool:
    """Tell whether the network is built for one size of images, as most transformers are."""
    known = timm.models.get_pretrained_cfg(network)
    return bool(known and known.fixed_input_size)


def size(network: str, data: tuple[int, int], options: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the images of a network, at least those of the data.

    A network that is built for one size gets the data's, rounded up to a multiple of its total stride; another one the
    data's, or the smallest that it takes.
    """
    if not fixes_size(network):
        smallest = _smallest(network)
        return max(data[0], smallest), max(data[1], smallest)
    stride = _stride(network, options)
    return -(-data[0] // stride) * stride, -(-data[1] // stride) * stride


def build(network: str, model_input: ModelInput, options: Mapping[str, Any], **more: Any) -> nn.Module:
    """Build a network; `more` is what timm's `create_model` takes beside model options."""
    assert model_input.height is not None and model_input.width is not None
    if fixes_size(network):
        more["img_size"] = (model_input.height, model_input.width)
    given = {"num_classes": model_input.classes, "in_chans": model_input.channels, **more}
    model: nn.Module = timm.create_model(network, **{"pretrained": False, **given}, **options)
    for module in model.modules():
        if type(module) is Linear:
            # It differs from torch's under TorchScript alone, and what is no torch's Linear is not quantized.
            module.__class__ = nn.Linear  # type: ignore[assignment]  # it is made from that, and has its fields
    return model


def _smallest(network: str) -> int:
    known = timm.models.get_pretrained_cfg(network)
    of_name = max((least for start, least in _SMALLEST.items() if network.startswith(start)), default=STRIDE)
    if known is None:
        return of_name
    said = known.min_input_size[-1] if known.min_input_size else 0
    by_pool = known.input_size[-1] // known.pool_size[-1] if known.pool_size else 0
    return max(said, min(by_pool, 2 * STRIDE), of_name)


def _stride(network: str, options: Mapping[str, Any]) -> int:
    """Return how many pixels of each side become one place of the last features."""
    try:
        with torch.device("meta"):
            found: Any = timm.create_model(network, pretrained=False, **options).feature_info
        return max(int(one["reduction"]) for one in found)
    except (AttributeError, KeyError, TypeError, NotImplementedError, RuntimeError, ValueError):
        return STRIDE
