"""VGG-16: torchvision's for ImageNet, and its convolutions under one linear layer for small images.

Dropout is 0.5 in the classifier for ImageNet, as published. Feature maps of another size than 7 x 7 are pooled, or
repeated, to that: the classifier has 120 million weights for images of any size, which must be at least 32 x 32.
"""

from collections import OrderedDict
from functools import partial

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import fit_channels, from_torchvision, he_fan_out, move_norms_behind_relu

build_vgg16 = partial(from_torchvision, "vgg16")
build_vgg16_bn = partial(from_torchvision, "vgg16_bn")


def build_vgg16_cifar(model_input: ModelInput) -> nn.Module:
    """Build VGG-16 for small images: input (b, channels, h, w) of at least 32 x 32, output (b, classes).

    It has batch norm, no dropout, and one linear layer behind global average pooling.
    """
    from torchvision.models.vgg import cfgs, make_layers

    model = nn.Sequential(
        OrderedDict(
            features=make_layers(cfgs["D"], batch_norm=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(512, model_input.classes or 10),
        )
    )
    fit_channels(model, model_input.channels)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):  # as torchvision initialises its own
            he_fan_out(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def build_vgg16_xnor(model_input: ModelInput) -> nn.Module:
    """Build the network of `build_vgg16_cifar` with ReLU, pooling and then norm behind each convolution."""
    return move_norms_behind_relu(build_vgg16_cifar(model_input))
