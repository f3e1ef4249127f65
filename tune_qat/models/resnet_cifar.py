"""ResNets for small images (He et al., CVPR 2016, section 4.2), from pytorchcv: 6 n + 2 layers in blocks of two.

Published CIFAR tables do not say that their "ResNet-50" is this one; with n = 8 it is of the same family as ResNet-20.
The bottleneck network of that name is `resnet50`.
"""

from functools import partial
from typing import Any

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import move_norms_behind_relu, pool_globally

WIDTHS = (16, 32, 64)


def _build(depth: int, model_input: ModelInput) -> nn.Module:
    """Build a post-activation ResNet: input (b, channels, h, w) of at least 4 x 4, output (b, classes).

    Shortcuts that change the shape are 1 x 1 convolutions.
    """
    from pytorchcv.models.resnet_cifar import CIFARResNet

    return _network(CIFARResNet, depth, model_input)


def _build_xnor(depth: int, model_input: ModelInput) -> nn.Module:
    """Build the pre-activation network with (ReLU, norm, convolution) in place of (norm, ReLU, convolution).

    The post-activation one would not do: its residual sums end in a ReLU, with no norm ahead of the next layer.
    """
    from pytorchcv.models.preresnet_cifar import CIFARPreResNet

    return move_norms_behind_relu(_network(CIFARPreResNet, depth, model_input))


def _network(kind: Any, depth: int, model_input: ModelInput) -> nn.Module:
    model: nn.Module = kind(
        channels=[[width] * ((depth - 2) // 6) for width in WIDTHS],
        init_block_channels=WIDTHS[0],
        bottleneck=False,
        in_channels=model_input.channels,
        num_classes=model_input.classes,
    )
    return pool_globally(model)


build_resnet20 = partial(_build, 20)
build_resnet50 = partial(_build, 50)
build_resnet20_xnor = partial(_build_xnor, 20)
build_resnet50_xnor = partial(_build_xnor, 50)
