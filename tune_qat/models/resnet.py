"""ResNets for ImageNet as in torchvision (post-activation), without pretrained weights."""

from functools import partial

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import fit_channels


def _build(name: str, model_input: ModelInput) -> nn.Module:
    """Build a network of torchvision: input (b, channels, h, w) of at least 32 x 32, output (b, classes).

    The stem is that for ImageNet, whatever the image size. Bottlenecks stride in their 3 x 3 convolution ("v1.5"),
    where the paper's do in the first 1 x 1.
    """
    from torchvision import models

    model: nn.Module = getattr(models, name)(weights=None, num_classes=model_input.classes)
    fit_channels(model, model_input.channels)
    return model


build_resnet18 = partial(_build, "resnet18")
build_resnet34 = partial(_build, "resnet34")
build_resnet50 = partial(_build, "resnet50")
build_resnet101 = partial(_build, "resnet101")
build_resnet152 = partial(_build, "resnet152")
