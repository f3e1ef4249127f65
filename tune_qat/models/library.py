"""Networks of timm and torchvision, looked up in the library's own list and never imported by path."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import shown
from tune_qat.data.spec import ModelInput


def check_listed(name: str) -> None:
    """Raise `UsageError` with the nearest name for a network that the library does not list; nothing is built."""
    library, _, network = name.partition(":")
    names = _of(library).names(network)
    if network not in names:
        command = {
            "timm": "import timm; print(*timm.list_models(), sep='\\n')",
            "torchvision": "from torchvision import models; print(*models.list_models(models), sep='\\n')",
        }[library]
        raise UsageError(
            f"Unknown model {shown(name)}: {library} has no classification network of this name."
            f'{did_you_mean(network, names)} All names: python -c "{command}"'
        )


def size(name: str, model_input: ModelInput, *, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the height and width of the images that the network gets: smaller ones are enlarged to that."""
    check_listed(name)
    library, _, network = name.partition(":")
    if model_input.height is None or model_input.width is None:
        raise UsageError(f"Model {name!r} takes images of one size, but the data has any.")
    found: tuple[int, int] = _of(library).size(network, (model_input.height, model_input.width), options)
    return found


def build(name: str, model_input: ModelInput, *, options: Mapping[str, Any]) -> nn.Module:
    """Build a network with random weights for images of the size that `size` gives."""
    library, _, network = name.partition(":")
    model: nn.Module = _of(library).build(network, model_input, options)
    return model


def _of(library: str) -> ModuleType:
    if library == "timm":
        from tune_qat.models import timm_networks

        return timm_networks
    from tune_qat.models import torchvision_networks

    return torchvision_networks
