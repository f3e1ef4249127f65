"""Networks that are awkward to train: gates and depthwise layers, in-place activations, parts that draw at random."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from tests.conformance.models import images
from tune_qat import models
from tune_qat.config import FLOAT_BITS, Scheme
from tune_qat.models import resnet_cifar
from tune_qat.quantization.model import calibrate, constrain, constraints, quantize, quantized_layers
from tune_qat.quantizers import QUANTIZERS, scheme_of
from tune_qat.training.compiler import compiled
from tune_qat.training.cpu import replace_modules
from tune_qat.training.parameter_groups import parameter_groups

W4A4 = Scheme(weight_bits=4, activation_bits=4)


def batch(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scheme(method: str) -> Scheme:
    """At four bits, or the most it has, first and last layers and gates included."""
    spec = QUANTIZERS[method]
    weights = min(4, spec.weights.bits[-1])
    activations = FLOAT_BITS if spec.activations is None else min(4, spec.activations.bits[-1])
    return scheme_of(quantizer=method, weight_bits=weights, activation_bits=activations, first_last_bits=weights)


@pytest.fixture(scope="module")
def mobilenet() -> nn.Module:
    return models.build("mobilenet_v3_small", images(3, 32, 10), 0)


@pytest.mark.parametrize("method", QUANTIZERS)
def test_every_method_trains_depthwise_layers_and_gates(method: str, mobilenet: nn.Module) -> None:
    used, x = scheme(method), batch(4, 3, 32, 32)
    model = quantize(copy.deepcopy(mobilenet).train(), used, x[:1])
    calibrate(model, x)
    layers = quantized_layers(model)
    assert any(layer.layer.groups > 1 for layer in layers if isinstance(layer.layer, nn.Conv2d))
    optimizer = torch.optim.SGD(parameter_groups(model).all, lr=0.01)
    before = [layer.layer.weight.clone() for layer in layers]
    loss = nn.functional.cross_entropy(model(x), torch.arange(4))
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    optimizer.step()
    constrain(constraints(model))
    moved = [not torch.equal(layer.layer.weight, old) for layer, old in zip(layers, before, strict=True)]
    assert sum(moved) > len(moved) / 2  # where a batch's binary codes are all the same, a norm lets nothing back
    for layer in layers:
        assert layer.weight_quantizer is not None
        codes = layer.weight_quantizer(layer.layer.weight)
        assert codes.code.shape[0] == layer.layer.weight.shape[0] * codes.planes
        levels = codes.value.unique() if codes.scale.numel() == 1 else codes.code.unique()
        assert len(levels) <= 2**layer.weight_quantizer.bits * codes.planes
    # In training mode: running statistics have seen one batch, and these methods do not keep the size of values.
    assert loss.isfinite() and model(x).isfinite().all()


class InPlace(nn.Module):
    """Activations that overwrite what layers and norms give, and a sum that overwrites a branch."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace)
        self.branch = nn.Sequential(
            nn.Conv2d(4, 8, 1), nn.Hardswish(inplace), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6(inplace)
        )
        self.project, self.head = nn.Conv2d(8, 4, 1), nn.Linear(4, 2)
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem(x))
        y = self.project(self.branch(x))
        y = y.add_(x) if self.inplace else y + x
        out: torch.Tensor = self.head(self.relu(y).mean((2, 3)))
        return out


@pytest.mark.parametrize("method", ["lsq", "lsq_plus", "dorefa", "ttq"])
def test_what_overwrites_a_layers_output_changes_no_gradient(method: str) -> None:
    gradients = []
    for inplace in (False, True):
        torch.manual_seed(0)
        x = batch(4, 1, 6, 6)
        model = quantize(InPlace(inplace=inplace), scheme(method), x[:1])
        calibrate(model, x)
        model(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for expected, found in zip(*gradients, strict=True):
        assert expected is not None and found is not None and torch.equal(found, expected)


def random_parts() -> nn.Module:
    """What timm's networks have, at the size of a digit: paths and features that are left out, gates, own padding."""
    return nn.Sequential(
        Conv2dSame(1, 16, 3, stride=2),
        BatchNormAct2d(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        SqueezeExcite(16),
        DropPath(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 10),
    )


def prepared(model: nn.Module, x: torch.Tensor) -> nn.Module:
    model = quantize(replace_modules(model.train()), W4A4, x[:1])
    calibrate(model, x)
    return model


def test_what_is_drawn_at_random_follows_from_the_seed() -> None:
    torch.manual_seed(0)
    x = batch(8, 1, 12, 12)
    model = prepared(random_parts(), x)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


@pytest.mark.slow
@pytest.mark.xdist_group("inductor")
def test_what_is_drawn_at_random_follows_from_the_seed_where_it_is_compiled() -> None:
    torch.manual_seed(0)
    x = batch(8, 1, 12, 12)
    model = prepared(random_parts(), x)
    function = compiled(model, torch.device("cpu"))
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(function(x))
        outputs[-1].square().sum().backward()
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    # Nothing is drawn: what is left is the same as without a compiler.
    for part in model.modules():
        if isinstance(part, nn.Dropout | DropPath):
            part.eval()
    # Sums of norms in another order put some values on the other side of a tie; of 4 bits that is a few hundredths.
    torch.testing.assert_close(compiled(model, torch.device("cpu"))(x), model(x), rtol=0, atol=0.05)


@pytest.mark.slow
@pytest.mark.xdist_group("inductor")
def test_pytorchcvs_blocks_compile() -> None:
    # ResNet-20's network with a block for three: compiling takes seconds a block.
    torch.manual_seed(0)
    x = batch(8, 3, 16, 16)
    model = prepared(resnet_cifar._build(8, images(3, 16, 10)), x)
    buffers = [buffer.clone() for buffer in model.buffers()]
    found = compiled(model, torch.device("cpu"))(x)
    found.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    torch.testing.assert_close(found, model(x), rtol=0, atol=0.05)  # ties, as above
