"""ESPCN: super-resolution by convolutions at low resolution and a pixel shuffle (Shi et al., CVPR 2016)."""

from collections import OrderedDict

from torch import nn

from tune_qat.data.spec import ModelInput


def build(model_input: ModelInput) -> nn.Module:
    """Input (b, channels, h, w) to output (b, channels, scale h, scale w).

    With tanh as in the paper: what the second and third convolution see is signed.
    """
    channels, scale = model_input.channels, model_input.scale or 1
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 64, 5, padding=2),
            act1=nn.Tanh(),
            conv2=nn.Conv2d(64, 32, 3, padding=1),
            act2=nn.Tanh(),
            conv3=nn.Conv2d(32, channels * scale**2, 3, padding=1),
            shuffle=nn.PixelShuffle(scale),
        )
    )
