"""MobileNets from torchvision, without pretrained weights."""

from functools import partial

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import fit_channels


def _build(name: str, model_input: ModelInput) -> nn.Module:
    """Build a network of torchvision: input (b, channels, h, w) of at least 32 x 32, output (b, classes).

    Dropout is 0.2 ahead of the last layer.
    """
    from torchvision import models

    model: nn.Module = getattr(models, name)(weights=None, num_classes=model_input.classes)
    fit_channels(model, model_input.channels)
    return model


build_v2 = partial(_build, "mobilenet_v2")
build_v3_small = partial(_build, "mobilenet_v3_small")
build_v3_large = partial(_build, "mobilenet_v3_large")
