"""SqueezeNext (Gholami et al., CVPR Workshops 2018) from pytorchcv."""

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import pool_globally


def build_23_2x(model_input: ModelInput) -> nn.Module:
    """Build 2.0-SqNxt-23: input (b, channels, h, w) of at least 32 x 32, output (b, classes).

    It is 1.0-SqNxt-23 with twice the width, not v5.
    """
    from pytorchcv.models.squeezenext import sqnxt23_w2

    model: nn.Module = sqnxt23_w2(in_channels=model_input.channels, num_classes=model_input.classes)
    return pool_globally(model)
