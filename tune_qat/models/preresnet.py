"""Pre-activation ResNets for ImageNet as in pytorchcv, the networks of LSQ's tables."""

from functools import partial

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import move_norms_behind_relu, pool_globally


def _build(name: str, model_input: ModelInput) -> nn.Module:
    """Build a network of pytorchcv: input (b, channels, h, w) of at least 32 x 32, output (b, classes).

    Norm and ReLU are ahead of each convolution. Bottlenecks stride in their first 1 x 1 convolution.
    """
    from pytorchcv.models import preresnet

    model: nn.Module = getattr(preresnet, name)(in_channels=model_input.channels, num_classes=model_input.classes)
    return pool_globally(model)


build_preresnet18 = partial(_build, "preresnet18")
build_preresnet34 = partial(_build, "preresnet34")
build_preresnet50 = partial(_build, "preresnet50")
build_preresnet101 = partial(_build, "preresnet101")
build_preresnet152 = partial(_build, "preresnet152")


def build_resnet18_xnor(model_input: ModelInput) -> nn.Module:
    """Build a pre-activation ResNet-18 with (ReLU, norm, convolution) in place of (norm, ReLU, convolution)."""
    return move_norms_behind_relu(build_preresnet18(model_input))
