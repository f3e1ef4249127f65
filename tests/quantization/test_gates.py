"""Squeeze-excite gates among other uses of a sigmoid."""

from typing import Any

import pytest
from pytorchcv.models.common.att import SEBlock
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn
from torchvision.ops import SqueezeExcitation

from tests.quantization.test_model import batch, bits_of
from tune_qat.config import Scheme
from tune_qat.quantization.gates import gate_layers
from tune_qat.quantization.model import quantize
from tune_qat.quantizers import scheme_of

BLOCKS: dict[str, Any] = {
    "torchvision": lambda: SqueezeExcitation(8, 2),
    "torchvision, hard": lambda: SqueezeExcitation(8, 2, scale_activation=nn.Hardsigmoid),
    "timm": lambda: SqueezeExcite(8),
    "timm, hard": lambda: SqueezeExcite(8, gate_layer="hard_sigmoid"),
    "timm, another": lambda: SEModule(8),
    "timm, one layer": lambda: EffectiveSEModule(8),
    "pytorchcv": lambda: SEBlock(8, reduction=4),
}
NO_GATES: dict[str, Any] = {
    "an activation": lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 8, 1)),
    "an output": lambda: nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid()),
    "none": lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()),
}


def network(block: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), block, nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("kind", BLOCKS)
def test_layers_of_a_gate(kind: str, size: int) -> None:
    model = network(BLOCKS[kind]())
    expected = {id(layer) for layer in model[1].modules() if isinstance(layer, nn.Conv2d | nn.Linear)}  # type: ignore[index]
    assert expected
    assert gate_layers(model, batch(1, 1, size, size), (nn.Conv2d, nn.Linear)) == expected
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("kind", NO_GATES)
def test_other_sigmoids(kind: str, size: int) -> None:
    assert gate_layers(network(NO_GATES[kind]()), batch(1, 1, size, size), (nn.Conv2d,)) == set()


def test_a_gate_has_the_bits_of_the_first_and_last_layer() -> None:
    model = quantize(network(SqueezeExcitation(8, 2)), Scheme(weight_bits=2, activation_bits=3), batch(1, 1, 5, 5))
    assert bits_of(model) == {"0": (8, 8), "1.fc1": (8, 8), "1.fc2": (8, 8), "2": (2, 3), "3": (8, 8)}


def test_a_gate_stays_in_floating_point_where_the_first_and_last_layer_do() -> None:
    scheme = scheme_of(quantizer="dorefa", weight_bits=2, activation_bits=3)
    model = quantize(network(SqueezeExcitation(8, 2)), scheme, batch(1, 1, 5, 5))
    assert bits_of(model) == {**dict.fromkeys(("0", "1.fc1", "1.fc2"), (None, None)), "2": (2, 3), "3": (None, None)}


def test_a_gate_that_the_scheme_names_has_the_bits_it_says() -> None:
    scheme = scheme_of(quantizer="lsq", weight_bits=2, activation_bits=3, layer_bits={"1.fc2": (4, 5)})
    model = quantize(network(SqueezeExcitation(8, 2)), scheme, batch(1, 1, 5, 5))
    assert bits_of(model)["1.fc1"] == (8, 8) and bits_of(model)["1.fc2"] == (4, 5)
