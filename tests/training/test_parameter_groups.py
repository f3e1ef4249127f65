"""Every trainable parameter in exactly one group."""

import pytest
import torch
from torch import nn

from tune_qat.config import Scheme
from tune_qat.quantization.model import calibrate, quantize
from tune_qat.training.parameter_groups import ParameterGroups, parameter_groups


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.PReLU(),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


def quantized(network: nn.Module, scheme: Scheme) -> nn.Module:
    example = torch.randn((2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    result = quantize(network, scheme, example[:1])
    calibrate(result, example)
    return result


def names(network: nn.Module, parameters: list[nn.Parameter]) -> list[str]:
    by_id = {id(parameter): name for name, parameter in network.named_parameters()}
    return sorted(by_id[id(parameter)] for parameter in parameters)


def same(left: ParameterGroups, right: list[nn.Parameter]) -> bool:
    return sorted(map(id, left.all)) == sorted(map(id, right))


def test_of_a_floating_point_model() -> None:
    network = model()
    groups = parameter_groups(network)
    assert names(network, groups.weights) == ["0.weight", "3.weight", "5.weight"]
    assert names(network, groups.others) == ["0.bias", "1.bias", "1.weight", "2.weight", "5.bias"]
    assert groups.quantizer == []
    assert groups.last_weight is network[5].weight
    assert same(groups, list(network.parameters()))


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "steps"), [(4, 4, 6), (4, 32, 3), (32, 4, 3)], ids=["both", "weights", "inputs"]
)
def test_of_a_quantized_model(weight_bits: int, activation_bits: int, steps: int) -> None:
    plain = parameter_groups(model())
    network = quantized(model(), Scheme(weight_bits=weight_bits, activation_bits=activation_bits))
    groups = parameter_groups(network)
    assert len(groups.weights) == len(plain.weights) and len(groups.others) == len(plain.others)
    assert len(groups.quantizer) == steps
    assert all(name.endswith("quantizer.step") for name in names(network, groups.quantizer))
    assert same(groups, list(network.parameters()))


def test_frozen_parameters_are_in_no_group() -> None:
    network = model()
    network[0].requires_grad_(False)
    groups = parameter_groups(network)
    assert names(network, groups.weights) == ["3.weight", "5.weight"]
    assert "0.bias" not in names(network, groups.others)
    assert same(groups, [p for p in network.parameters() if p.requires_grad])


def test_a_shared_parameter_is_in_one_group_once() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    network[2].weight = network[0].weight
    groups = parameter_groups(network)
    assert len(groups.weights) == 1 and len(groups.others) == 2
    assert same(groups, list(network.parameters()))


def test_of_a_model_without_weights() -> None:
    groups = parameter_groups(nn.BatchNorm2d(3))
    assert groups.weights == [] and groups.last_weight is None and len(groups.others) == 2
