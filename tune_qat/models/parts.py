"""Parts that builders of library models share: other channels, any image size, the order that binary inputs need."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat.data.spec import ModelInput


def from_torchvision(name: str, model_input: ModelInput) -> nn.Module:
    """Build a network of torchvision without pretrained weights: input (b, channels, h, w), output (b, classes)."""
    from torchvision import models

    model: nn.Module = getattr(models, name)(weights=None, num_classes=model_input.classes)
    fit_channels(model, model_input.channels)
    return model


def he_fan_out(weight: torch.Tensor) -> None:
    """Fill a weight in place by He initialisation with fan-out, as torchvision's networks with ReLU do."""
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def fit_channels(model: nn.Module, channels: int, init: Callable[[torch.Tensor], Any] | None = he_fan_out) -> None:
    """Replace the first convolution by one with `channels` inputs, in place, unless it has them already.

    Args:
        model: network whose first registered convolution is the one that sees the image.
        channels: channels of the images.
        init: the library's initialisation of that layer's weight, its bias being 0; None for torch's own values.
    """
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == channels:
        return
    fitting = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # torch's types: as many numbers as dimensions
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    if init is not None:
        init(fitting.weight)
        if fitting.bias is not None:
            nn.init.zeros_(fitting.bias)
    model.set_submodule(name, fitting)


def pool_globally(model: nn.Module) -> nn.Module:
    """Replace the last pooling of a pytorchcv network, in place, by one over the whole feature map.

    Nothing changes at the network's own image size, and other sizes work too.
    """
    model.set_submodule("features.final_pool", nn.AdaptiveAvgPool2d(1))
    return model


def move_norms_behind_relu(model: nn.Module) -> nn.Module:
    """Put each batch norm behind the ReLU and the max pooling that follow it, in place: norm comes last.

    XNOR-Net's order is norm, sign, convolution, pooling (Rastegari et al., ECCV 2016, section 3.2), and the published
    tables add a ReLU behind the convolution. The networks here have convolution, norm, ReLU (or norm, ReLU,
    convolution): the input of a layer is never negative, and all of its signs would be +1. With ReLU, pooling, norm
    instead, the next layer sees both signs. A residual sum that ends in a ReLU stays as it is: use a pre-activation
    network, where norm and ReLU stand ahead of the layers inside the branch.

    ReLUs no longer work in place: the first of a branch would overwrite what the shortcut keeps.
    """
    for parent in list(model.modules()):
        names = list(parent._modules)
        for place, name in enumerate(names):
            if isinstance(parent._modules[name], _BatchNorm):
                behind = _run(parent, names[place + 1 :])
                moved = [*(parent._modules[other] for other in behind), parent._modules[name]]
                for own, module in zip([name, *behind], moved, strict=True):
                    setattr(parent, own, module)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def _run(parent: nn.Module, names: list[str]) -> list[str]:
    """Return the leading names that are ReLU or max pooling."""
    found: list[str] = []
    for name in names:
        if not isinstance(parent._modules[name], nn.ReLU | nn.MaxPool2d):
            break
        found.append(name)
    return found


class Enlarged(nn.Module):
    """A network for images that are too small for it, enlarged by bilinear interpolation."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Put an enlargement to `size`, height and width, ahead of the network."""
        super().__init__()
        self.network, self._size = network, size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(functional.interpolate(images, self._size, mode="bilinear"))
