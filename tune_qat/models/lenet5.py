"""LeNet-5 in its modern form: ReLU and max pooling (LeCun et al., 1998), without and with batch norm."""

from collections import OrderedDict

from torch import nn

from tune_qat.config import UsageError
from tune_qat.data.spec import ModelInput


def build(model_input: ModelInput) -> nn.Module:
    """Build LeNet-5: input (b, channels, 28, 28), padded to 32, or (b, channels, 32, 32), output (b, classes).

    Raises `UsageError` for another size.
    """
    return _network("lenet5", model_input, ("relu", "pool"))


def build_bn(model_input: ModelInput) -> nn.Module:
    """Build LeNet-5 with batch norm between each layer and its ReLU."""
    return _network("lenet5_bn", model_input, ("norm", "relu", "pool"))


def build_xnor(model_input: ModelInput) -> nn.Module:
    """Build LeNet-5 with batch norm at the end of each block: a layer that takes signs of its input has to see both.

    The order is that of XNOR-Net (Rastegari et al., ECCV 2016, section 3.2), norm, sign, convolution, pooling, with a
    ReLU ahead of the pooling.
    """
    return _network("lenet5_xnor", model_input, ("relu", "pool", "norm"))


def _network(name: str, model_input: ModelInput, order: tuple[str, ...]) -> nn.Module:
    size = (model_input.height, model_input.width)
    if size not in ((28, 28), (32, 32)):
        raise UsageError(f"Model {name!r} takes images of 28 x 28 or 32 x 32, but got {size[0]} x {size[1]}.")
    conv1 = nn.Conv2d(model_input.channels, 6, 5, padding=2 if size == (28, 28) else 0)
    return nn.Sequential(
        OrderedDict(
            conv1=conv1,
            **_after(1, nn.BatchNorm2d, 6, order),
            conv2=nn.Conv2d(6, 16, 5),
            **_after(2, nn.BatchNorm2d, 16, order),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            **_after(3, nn.BatchNorm1d, 120, order),
            fc2=nn.Linear(120, 84),
            **_after(4, nn.BatchNorm1d, 84, order),
            fc3=nn.Linear(84, model_input.classes or 10),
        )
    )


def _after(number: int, norm: type[nn.Module], width: int, order: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the modules that follow a layer, by name and in order; there is no pooling behind linear layers."""
    parts = {"relu": nn.ReLU(), "norm": norm(width)}
    if norm is nn.BatchNorm2d:
        parts["pool"] = nn.MaxPool2d(2)
    return {f"{part}{number}": parts[part] for part in order if part in parts}
