"""AlexNet in one column, from torchvision, without and with batch norm."""

from torch import nn

from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import fit_channels, move_norms_behind_relu


def build(model_input: ModelInput) -> nn.Module:
    """Build AlexNet: input (b, channels, h, w) of at least 63 x 63, output (b, classes).

    Dropout is 0.5 in the classifier, as published. Smaller images leave nothing for the last pooling.
    """
    from torchvision.models import alexnet

    model: nn.Module = alexnet(weights=None, num_classes=model_input.classes)
    fit_channels(model, model_input.channels, init=None)
    return model


def build_bn(model_input: ModelInput) -> nn.Module:
    """Build the AlexNet of DoReFa-Net and XNOR-Net: with batch norm ahead of each ReLU and without dropout."""
    model = build(model_input)
    for name in ("features", "classifier"):
        model.set_submodule(name, nn.Sequential(*_with_norm(model.get_submodule(name))))
    return model


def build_xnor(model_input: ModelInput) -> nn.Module:
    """Build the network of `build_bn` with ReLU, pooling and then norm behind each layer."""
    return move_norms_behind_relu(build_bn(model_input))


def _with_norm(part: nn.Module) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for module in part.children():
        if isinstance(module, nn.ReLU):
            layer = parts[-1]
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            parts.append(
                nn.BatchNorm2d(layer.out_channels)
                if isinstance(layer, nn.Conv2d)
                else nn.BatchNorm1d(layer.out_features)
            )
        if not isinstance(module, nn.Dropout):
            parts.append(module)
    return parts
