"""Every trainable parameter in exactly one group."""

import pytest
import torch
from torch import nn

from tests.references import lsq
from tune_qat.config import Scheme
from tune_qat.quantization.model import calibrate, quantize
from tune_qat.training.parameter_groups import ParameterGroups, output_units_first, parameter_groups


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


def test_weights_of_every_kind_of_layer() -> None:
    network = nn.ModuleList(
        [nn.Conv1d(2, 2, 3), nn.Conv3d(2, 2, 3), nn.ConvTranspose2d(2, 2, 3), nn.Embedding(3, 2), nn.LayerNorm(2)]
    )
    groups = parameter_groups(network)
    assert names(network, groups.weights) == ["0.weight", "1.weight", "2.weight"]


@pytest.mark.parametrize("channel_groups", [1, 2])
def test_a_transposed_convolution_shows_its_outputs_first(channel_groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 6, (3, 2), groups=channel_groups)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), layer)
    network(torch.randn(2, 1, 6, 6)).square().sum().backward()
    groups = parameter_groups(network)
    first, *parts = output_units_first(groups.weights, groups.transposed)
    assert first is groups.weights[0] and len(parts) == channel_groups
    rows = torch.cat([part for part in parts])
    assert torch.equal(rows, lsq.rows(layer, layer.weight))
    # What is done to the gradient of an output unit is done to that of the weight.
    assert layer.weight.grad is not None and parts[-1].grad is not None
    expected = lsq.rows(layer, layer.weight.grad.clone())
    expected[-1] = 7
    parts[-1].grad[-1] = 7
    assert torch.equal(lsq.rows(layer, layer.weight.grad), expected)


def test_of_a_model_without_weights() -> None:
    groups = parameter_groups(nn.BatchNorm2d(3))
    assert groups.weights == [] and groups.last_weight is None and len(groups.others) == 2
