"""Networks of timm and torchvision: built for the data's images, from a seed, and the same as the library's own."""

import pytest
import timm
import torch
from timm.layers.linear import Linear
from torchvision import models as torchvision_models

from tests.conformance.models import images
from tune_qat import Scheme, models
from tune_qat.config import UsageError
from tune_qat.models import timm_networks, torchvision_networks
from tune_qat.models.checks import check_model
from tune_qat.models.parts import Enlarged
from tune_qat.quantization.model import calibrate, quantize, quantized_layers

TINY_VIT = {"patch_size": 7, "embed_dim": 24, "depth": 2, "num_heads": 2}


def batch(channels: int, side: int) -> torch.Tensor:
    return torch.randn((2, channels, side, side), generator=torch.Generator().manual_seed(0))


def library_state(make: object, seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make().state_dict()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("timm:mobilenetv3_small_050", lambda: timm.create_model("mobilenetv3_small_050", num_classes=7)),
        ("torchvision:mnasnet0_5", lambda: torchvision_models.mnasnet0_5(num_classes=7)),
    ],
)
def test_a_network_is_the_librarys_own(name: str, make: object) -> None:
    ours, theirs = models.build(name, images(3, 32, 7), 5).state_dict(), library_state(make, 5)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_transformer_is_built_for_the_datas_images_with_its_options() -> None:
    model = models.build("timm:vit_tiny_patch16_224", images(1, 28, 10), 0, TINY_VIT)
    assert not isinstance(model, Enlarged)
    assert model.get_parameter("pos_embed").shape == (1, 17, 24)  # four by four patches of 7 pixels, and the class
    assert model.get_parameter("patch_embed.proj.weight").shape == (24, 1, 7, 7)
    quantized = quantize(model, Scheme(), batch(1, 28)[:1])
    calibrate(quantized, batch(1, 28))
    assert {"patch_embed.proj", "blocks.1.mlp.fc2", "head"} <= {layer.name for layer in quantized_layers(quantized)}


@pytest.mark.parametrize(
    ("network", "data", "size"),
    [
        ("resnet18", (28, 28), (32, 32)),
        ("resnet18", (40, 50), (40, 50)),
        ("inception_v3", (32, 32), (75, 75)),
        ("vit_tiny_patch16_224", (28, 40), (32, 48)),
        ("vit_tiny_patch16_224", (224, 224), (224, 224)),
        ("swin_tiny_patch4_window7_224", (28, 28), (32, 32)),
    ],
)
def test_images_that_timms_networks_take(network: str, data: tuple[int, int], size: tuple[int, int]) -> None:
    assert timm_networks.size(network, data, {}) == size


@pytest.mark.parametrize(
    ("network", "data", "size"),
    [
        ("resnet18", (28, 28), (32, 32)),
        ("alexnet", (32, 70), (63, 70)),
        ("inception_v3", (32, 32), (75, 75)),
        ("swin_t", (28, 28), (32, 32)),
        ("vit_b_16", (28, 40), (48, 48)),
        ("maxvit_t", (32, 32), (224, 224)),
    ],
)
def test_images_that_torchvisions_networks_take(network: str, data: tuple[int, int], size: tuple[int, int]) -> None:
    assert torchvision_networks.size(network, data, {}) == size


def test_timms_own_linear_layer_is_quantized() -> None:
    assert type(timm.create_model("mobilenetv3_small_050").classifier) is Linear
    model = models.build("timm:mobilenetv3_small_050", images(3, 32, 10), 0)
    assert quantized_layers(quantize(model, Scheme(), batch(3, 32)[:1]))[-1].name == "classifier"


def test_small_images_are_enlarged() -> None:
    model = models.build("timm:mobilenetv3_small_050", images(1, 28, 10), 0)
    assert isinstance(model, Enlarged) and model.eval()(batch(1, 28)).shape == (2, 10)


def test_other_channels_are_drawn_as_spread_as_the_librarys() -> None:
    name = "torchvision:mnasnet0_5"
    ours = models.build(name, images(5, 32, 7), 0).get_parameter("layers.0.weight")
    theirs = models.build(name, images(3, 32, 7), 0).get_parameter("layers.0.weight")
    assert ours.shape[1] == 5
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.2)  # 432 draws: 3.4 % deviation, here six


def test_a_network_has_one_output_in_training_too() -> None:
    check_model("torchvision:googlenet", images(3, 32, 4), {})


def test_an_option_that_the_network_does_not_take_is_said() -> None:
    with pytest.raises(UsageError, match="'timm:resnet18' cannot be built for .*32 x 32.*: TypeError: .*'widht'"):
        models.build("timm:resnet18", images(3, 32, 10), 0, {"widht": 3})


def test_torchs_generator_is_left_as_it_is() -> None:
    before = torch.get_rng_state()
    models.build("timm:vit_tiny_patch16_224", images(1, 28, 10), 0, TINY_VIT)
    assert torch.equal(before, torch.get_rng_state())
