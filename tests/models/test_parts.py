"""What builders of library models share."""

import copy

import pytest
import torch
from torch import nn

from tests.conformance.models import images
from tune_qat import Scheme, models
from tune_qat.models.parts import Enlarged, fit_channels, move_norms_behind_relu
from tune_qat.quantization.model import calibrate, quantize, quantized_layers

XNOR = {
    # Where each comes from, without its order.
    "resnet18_xnor": "preresnet18",
    "vgg16_xnor": "vgg16_cifar",
    "alexnet_xnor": "alexnet_bn",
}
SMALL_XNOR = ("resnet20_xnor", "resnet50_xnor")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_norms_go_behind_relu_and_pooling() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
    )
    conv1, norm1, relu, pool, conv2, norm2, conv3, norm3, tanh = model
    moved = move_norms_behind_relu(model)
    assert moved is model
    assert list(model) == [conv1, relu, pool, norm1, conv2, norm2, conv3, norm3, tanh]


class Branch(nn.Module):
    """A residual branch that begins with its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.relu, self.conv = nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.conv(self.relu(self.norm(x)))
        return y


def test_a_shortcut_keeps_what_the_relu_of_its_branch_takes_away() -> None:
    model = Branch().eval()
    norm, relu, conv = model.norm, model.relu, model.conv
    move_norms_behind_relu(model)
    x = random(2, 2, 3, 3)
    before = x.clone()
    assert torch.equal(model(x), before + conv(norm(before.relu())))
    assert torch.equal(x, before)
    assert list(model.children()) == [relu, norm, conv] and not relu.inplace


@pytest.mark.parametrize("name", [*XNOR, *SMALL_XNOR])
def test_inner_layers_of_an_xnor_network_see_both_signs(name: str) -> None:
    spec = models.get_spec(name)
    model = models.build(name, images(3, max(spec.smallest, 32), 10), 0)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    negative: list[float] = []
    for layer in layers[1:-1]:
        layer.register_forward_pre_hook(lambda _, args: negative.append((args[0] < 0).float().mean().item()))
    side = max(spec.smallest, 32)
    model.train()(random(4, 3, side, side))
    assert len(negative) == len(layers) - 2
    # A norm's values are around 0; behind ReLU most are a little below it, and the rest above.
    assert all(0.2 < share < 0.95 for share in negative)


@pytest.mark.parametrize("name", XNOR)
def test_an_xnor_network_has_the_parameters_of_the_other(name: str) -> None:
    given = images(3, models.get_spec(name).smallest, 10)
    with torch.device("meta"):
        shapes = [
            sorted(tuple(value.shape) for value in models.build(kind, given, 0).parameters())
            for kind in (name, XNOR[name])
        ]
    assert shapes[0] == shapes[1]


def test_without_the_new_order_all_signs_are_the_same() -> None:
    model = models.build("vgg16_cifar", images(3, 32, 10), 0)
    seen: list[torch.Tensor] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    convolutions[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.train()(random(2, 3, 32, 32))
    assert seen[0].min() == 0


def test_fitting_other_channels_keeps_the_rest() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=1)), nn.Conv2d(4, 3, 3))
    before = copy.deepcopy(model)
    fit_channels(model, 3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    fit_channels(model, 1)
    first, second = model[0][0], model[1]  # type: ignore[index]
    assert (first.in_channels, first.kernel_size, first.stride, first.padding) == (1, (5, 5), (2, 2), (1, 1))
    assert first.bias is not None and not first.bias.any()
    assert torch.equal(second.weight, before[1].weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        # He by outputs: sqrt(2 / (64 * 9)), and for MobileNetV2 sqrt(2 / (32 * 9)).
        ("vgg16_cifar", "features.0", (2 / 576) ** 0.5),
        ("mobilenet_v2", "features.0.0", (2 / 288) ** 0.5),
        # torch's own, uniform in +-1 / sqrt(2 * 121): its deviation is that over sqrt(3).
        ("alexnet", "features.0", (1 / 242 / 3) ** 0.5),
    ],
)
def test_other_channels_start_as_the_library_starts_its_own(name: str, module: str, expected: float) -> None:
    model = models.build(name, images(2, 64, 2), 0)
    weight = model.get_submodule(module).weight
    assert isinstance(weight, nn.Parameter) and weight.shape[1] == 2
    assert weight.std().item() == pytest.approx(expected, rel=0.15)  # 576 draws or more: 3 % deviation, here five


@pytest.mark.parametrize("name", ["preresnet18", "resnet20_cifar", "squeezenext23_2x"])
def test_pooling_is_the_librarys_own_at_its_own_size(name: str) -> None:
    side = {"resnet20_cifar": 32}.get(name, 224)
    model = models.build(name, images(3, side, 10), 0).eval()
    seen: list[torch.Tensor] = []
    model.get_submodule("features.final_pool").register_forward_hook(
        lambda _, args, output: seen.extend([*args, output])
    )
    model(random(1, 3, side, side))
    kernel = {"resnet20_cifar": 8}.get(name, 7)
    # Means of 49 or 64 values in two orders.
    torch.testing.assert_close(seen[1], nn.AvgPool2d(kernel, stride=1)(seen[0]), rtol=1e-5, atol=1e-6)


def test_enlarged_images_keep_their_corners_and_their_mean() -> None:
    seen: list[torch.Tensor] = []
    network = Enlarged(nn.Identity(), (8, 8))
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen.append(network(image))
    corners = [seen[0][0, 0, row, column].item() for row in (0, -1) for column in (0, -1)]
    assert corners == [0.0, 3.0, 12.0, 15.0]
    assert seen[0].mean().item() == pytest.approx(image.mean().item(), rel=1e-6)  # sums of 64 numbers in float32


def test_a_network_of_large_images_is_quantized_on_small_ones() -> None:
    model = models.build("mobilenet_v2", images(1, 28, 10), 0)
    batch = torch.randn((2, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    quantized = quantize(model, Scheme(), batch[:1])
    calibrate(quantized, batch)
    quantized(batch).sum().backward()
    names = [layer.name for layer in quantized_layers(quantized)]
    assert names[0] == "network.features.0.0" and names[-1] == "network.classifier.1"
