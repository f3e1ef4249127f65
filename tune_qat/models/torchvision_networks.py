"""Classification networks of torchvision by name: which there are, the images that they take, and their modules."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn
from torchvision import models

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import fit_channels

STRIDE = 32
"""Total stride of most networks."""
_MULTIPLE = {"vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16, "vit_l_32": 32, "vit_h_14": 14, "maxvit_t": 224}
"""Networks that are built for one size of square images, each with what its side is a multiple of: a patch; of MaxViT
what the windows of each stage divide."""
_SIZE_OPTION = {"maxvit_t": "input_size"}
_ANY_SIZE = ("swin",)
"""Beginnings of the names of networks that pad images of any size, whatever their weights were trained on."""
_IN_TRAINING_ALONE = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}
"""Options without which a network has other outputs in training than in evaluation."""
_QUIET = {"init_weights": True}


def names(network: str = "") -> list[str]:
    """List the names of all classification networks."""
    found: list[str] = models.list_models(module=models)
    return found


def size(network: str, data: tuple[int, int], options: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the images of a network, at least those of the data.

    A network that is built for one size gets the data's, rounded up to what it takes and square; another one the
    data's, or the smallest that it takes.
    """
    multiple = _MULTIPLE.get(network)
    if multiple:
        side = -(-max(data) // multiple) * multiple
        return side, side
    said = models.get_model_weights(network).DEFAULT.meta["min_size"]
    smallest = STRIDE if network.startswith(_ANY_SIZE) else max(STRIDE, *said)
    return max(data[0], smallest), max(data[1], smallest)


def build(network: str, model_input: ModelInput, options: Mapping[str, Any]) -> nn.Module:
    """Build a network with random weights, the first convolution with as many channels as the images have."""
    assert model_input.height is not None
    own: dict[str, Any] = dict(_IN_TRAINING_ALONE.get(network, {}))
    if own:
        own |= _QUIET
    if network in _MULTIPLE:
        option = _SIZE_OPTION.get(network, "image_size")
        own[option] = (model_input.height, model_input.width) if option == "input_size" else model_input.height
    given = {"num_classes": model_input.classes, **own, **options}
    model: nn.Module = models.get_model(network, weights=None, **given)
    fit_channels(model, model_input.channels, partial(_like, next(_convolutions(model)).weight.std().item()))
    return model


def _convolutions(model: nn.Module) -> Any:
    return (module for module in model.modules() if isinstance(module, nn.Conv2d))


def _like(spread: float, weight: Any) -> None:
    """Draw a weight as spread as the library's own for three channels."""
    nn.init.normal_(weight, std=spread)
