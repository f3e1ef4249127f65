"""LeNet-5 in its modern form: ReLU and max pooling (LeCun et al., 1998)."""

from collections import OrderedDict

from torch import nn

from tune_qat.config import UsageError
from tune_qat.data.base import ModelInput


def build(model_input: ModelInput) -> nn.Module:
    """Input (b, channels, 28, 28), padded to 32, or (b, channels, 32, 32); output (b, classes)."""
    size = (model_input.height, model_input.width)
    if size not in ((28, 28), (32, 32)):
        raise UsageError(f"Model 'lenet5' takes images of 28 x 28 or 32 x 32, but got {size[0]} x {size[1]}.")
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(model_input.channels, 6, 5, padding=2 if size == (28, 28) else 0),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, model_input.classes or 10),
        )
    )
