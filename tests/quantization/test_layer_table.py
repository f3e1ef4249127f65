"""The table of layers: LeNet-5 by hand, and what is left in floating point."""

import pytest
import torch
from torch import nn

from tune_qat import models
from tune_qat.config import Scheme, UsageError
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.quantization.layer_table import layer_table

W4A4 = Scheme(weight_bits=4, activation_bits=4)
IMAGES = ModelInput(task=CLASSIFICATION, channels=1, height=28, width=28, classes=10, scale=None)


def test_lenet5_has_five_layers_and_nothing_outside() -> None:
    table = layer_table(models.build("lenet5", IMAGES, 0), W4A4, torch.rand(4, 1, 28, 28))
    assert [(one.layer, one.weight, one.parameters, one.macs, one.bits) for one in table.lines] == [
        ("conv1", "6x1x5x5", 156, 6 * 25 * 28 * 28, "8/8"),
        ("conv2", "16x6x5x5", 2416, 16 * 150 * 10 * 10, "4/4"),
        ("fc1", "120x400", 48_120, 48_000, "4/4"),
        ("fc2", "84x120", 10_164, 10_080, "4/4"),
        ("fc3", "10x84", 850, 840, "8/8"),
    ]
    assert {one.input for one in table.lines} == {"unsigned"} and {one.exact for one in table.lines} == {"yes"}
    assert table.macs == sum(one.macs or 0 for one in table.lines) and table.share_outside == 0


def test_what_is_left_in_floating_point_says_why() -> None:
    model = models.build("lenet5_bn", IMAGES, 0)
    scheme = Scheme(weight_bits=4, activation_bits=4, float_layers=("fc2",))
    table = layer_table(model, scheme, torch.rand(4, 1, 28, 28))
    left = {one.layer: (one.type, one.note) for one in table.lines if one.bits == "32/32"}
    assert left.pop("fc2") == ("Linear", "left in floating point by quantization.layers")
    assert {note for _, note in left.values()} == {"norms stay in floating point"} and len(left) == 4
    assert table.outside == 10_080


def test_a_model_that_cannot_be_quantized_is_refused() -> None:
    with pytest.raises(UsageError, match="no convolution or linear layer"):
        layer_table(nn.ReLU(), W4A4, torch.zeros(1, 3))
