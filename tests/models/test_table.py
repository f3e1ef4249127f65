"""The table of models, and what only one of them has to keep."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.conformance.models import images, pairs
from tune_qat import data, models
from tune_qat.config import UsageError


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(
        UsageError,
        match=r"'resnet81'. Did you mean 'resnet18'\? Known: espcn, lenet5, ",
    ):
        models.get_spec("resnet81")


@pytest.mark.parametrize(("model", "dataset"), [("espcn", "mnist"), ("lenet5", "photos"), ("resnet18", "div2k")])
def test_a_model_of_another_task_is_refused_before_any_data_is_read(model: str, dataset: str) -> None:
    with pytest.raises(UsageError, match=rf"'{model}' is made for .*, but dataset '{dataset}' is for .*Models for"):
        models.check_fits_task(model, data.get_spec(dataset))


def test_the_tables_are_free_of_torch() -> None:
    code = "import sys, tune_qat.models, tune_qat.quantizers, tune_qat.optimizers; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_espcn_is_its_three_convolutions_and_a_shuffle() -> None:
    model = models.build("espcn", pairs(1, 3), 0)
    conv1, conv2, conv3 = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    x = torch.randn((1, 1, 6, 5), generator=torch.Generator().manual_seed(0))
    y = conv3(conv2(conv1(x).tanh()).tanh())
    assert y.shape == (1, 9, 6, 5)
    # A pixel shuffle by hand: channel 3 i + j becomes row i, column j of each 3 x 3 block.
    by_hand = y.reshape(1, 3, 3, 6, 5).permute(0, 3, 1, 4, 2).reshape(1, 1, 18, 15)
    assert torch.equal(model(x), by_hand)


def test_lenet5_sees_28_pixels_as_32_with_a_border_of_zeros() -> None:
    small, large = models.build("lenet5", images(1, 28, 10), 0), models.build("lenet5", images(1, 32, 10), 0)
    large.load_state_dict(small.state_dict())
    x = torch.randn((2, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    bordered = nn.functional.pad(x, (2, 2, 2, 2))
    # Float sums over 25 terms in another order.
    torch.testing.assert_close(small(x), large(bordered), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("lenet5", ["ReLU", "MaxPool2d"]),
        ("lenet5_bn", ["BatchNorm2d", "ReLU", "MaxPool2d"]),
        ("lenet5_xnor", ["ReLU", "MaxPool2d", "BatchNorm2d"]),
    ],
)
def test_lenet5s_differ_in_what_follows_a_layer(name: str, block: list[str]) -> None:
    model = models.build(name, images(1, 28, 10), 0)
    assert [type(module).__name__ for module in model.children()][1 : len(block) + 1] == block


def test_resnet18_has_torchvisions_initialisation_on_grey_images_too() -> None:
    model = models.build("resnet18", images(1, 32, 10), 0)
    weight = model.get_submodule("conv1").weight
    assert isinstance(weight, nn.Parameter) and weight.shape == (64, 1, 7, 7)
    # He initialisation, fan-out mode: sqrt(2 / (64 * 49)); 3,136 draws give their deviation to 1.3 %, here 6 of these.
    assert weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.08)
