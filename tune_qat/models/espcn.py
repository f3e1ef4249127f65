"""ESPCN: super-resolution by convolutions at low resolution and a pixel shuffle (Shi et al., CVPR 2016)."""

from collections import OrderedDict

from torch import nn

from tune_qat.data.spec import ModelInput


def build(model_input: ModelInput) -> nn.Module:
    """Build ESPCN: input (b, channels, h, w), output (b, channels, scale h, scale w).

    Activations are tanh, as in the paper, so that the inputs of the second and third convolution are signed.
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
