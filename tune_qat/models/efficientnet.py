"""EfficientNet-B0, EfficientNet-Lite0 and MixNet-S from timm, without pretrained weights."""

from functools import partial
from typing import Any

from torch import nn

from tune_qat.data.spec import ModelInput

AS_PUBLISHED = {"drop_rate": 0.2, "drop_path_rate": 0.2}
"""Dropout ahead of the last layer, and share of residual branches that the last block drops in training (stochastic
depth): the values that timm recommends for training, and that torchvision's EfficientNet-B0 has."""


def _build(name: str, drop: dict[str, Any], model_input: ModelInput) -> nn.Module:
    """Build a network of timm: input (b, channels, h, w) of at least 32 x 32, output (b, classes)."""
    from timm.models import efficientnet

    builder = getattr(efficientnet, name)
    model: nn.Module = builder(in_chans=model_input.channels, num_classes=model_input.classes, **drop)
    return model


build_b0 = partial(_build, "efficientnet_b0", AS_PUBLISHED)
build_lite0 = partial(_build, "efficientnet_lite0", AS_PUBLISHED)
build_mixnet_s = partial(_build, "mixnet_s", {})  # timm names no rates for it, and its own are 0
