"""ResNet-18 from torchvision, without pretrained weights."""

from torch import nn

from tune_qat.config import UsageError
from tune_qat.data.base import ModelInput

SMALLEST = 32
"""The network's total stride: a smaller image is less than one pixel of the last stage."""


def build_resnet18(model_input: ModelInput) -> nn.Module:
    """Input (b, channels, h, w) of at least 32 x 32; output (b, classes). The ImageNet stem, whatever the size."""
    from torchvision.models import resnet18

    if min(model_input.height or 0, model_input.width or 0) < SMALLEST:
        raise UsageError(
            f"Model 'resnet18' takes images of at least {SMALLEST} x {SMALLEST}, but got "
            f"{model_input.height} x {model_input.width}."
        )
    model: nn.Module = resnet18(weights=None, num_classes=model_input.classes)
    if model_input.channels != 3:
        model.conv1 = nn.Conv2d(model_input.channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
    return model
