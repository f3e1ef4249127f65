"""Sensitivity of layers: traces against the whole Hessian, and a net of which one layer matters."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tune_qat.config import LayerSensitivity, Scheme
from tune_qat.quantization.allocation import allocate
from tune_qat.quantization.choices import Choices, choices_of
from tune_qat.quantization.cost import quantized_costs
from tune_qat.quantization.sensitivity import Batch, by_hessian, by_loss, hessian_traces

BITS = (2, 4, 8)
Measured = Callable[..., list[LayerSensitivity]]


def seeded(count: int, features: int) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(count))


def schemes() -> dict[int, Scheme]:
    return {bits: Scheme(weight_bits=bits, activation_bits=bits) for bits in BITS}


def test_traces_are_those_of_the_whole_hessian() -> None:
    """Each weight's second derivative by torch's own dense Hessian, all 21 by 21 of them; batches of unequal size."""
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
    net = nn.Sequential(first, nn.Tanh(), second, nn.Tanh()).double()
    inputs, targets = seeded(10, 3).double(), torch.arange(10) % 2
    shapes = [first.weight.shape, second.weight.shape]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        one, other = flat.split([shape.numel() for shape in shapes])
        hidden = torch.tanh(inputs @ one.reshape(shapes[0]).T)
        return functional.cross_entropy(torch.tanh(hidden @ other.reshape(shapes[1]).T), targets)

    flat = torch.cat([first.weight.detach().flatten(), second.weight.detach().flatten()])
    diagonal = torch.autograd.functional.hessian(loss, flat).diagonal()
    exact = {"0": float(diagonal[:12].sum()), "2": float(diagonal[12:].sum())}
    batches = [(inputs[:7], targets[:7]), (inputs[7:], targets[7:])]
    found = hessian_traces(net, ["0", "2"], batches, functional.cross_entropy, probes=4000, seed=0)
    # Four standard errors of the estimate: its deviation at one vector is about as large as the trace.
    assert found == pytest.approx(exact, rel=4 / 4000**0.5)
    assert exact["0"] != pytest.approx(exact["2"], rel=0.2), "the layers are told apart"
    again = hessian_traces(net, ["0", "2"], batches, functional.cross_entropy, probes=4000, seed=0)
    assert again == found


class Branches(nn.Module):
    """Three layers side by side, of which the middle one makes the output, and the others a thousandth of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 4)
        self.one, self.planted, self.other = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.first(value)
        found: torch.Tensor = self.last(1e-3 * self.one(value) + self.planted(value) + 1e-3 * self.other(value))
        return found


def net() -> nn.Module:
    torch.manual_seed(1)
    return Branches()


def chosen(rows: list[LayerSensitivity], choices: Choices, average: float) -> dict[str, int]:
    of = {(row.layer, row.bits): row.sensitivity for row in rows}
    felt = [[of[layer, bits] for bits in choices.candidates] for layer in choices.layers]
    key = "average_weight_bits"
    found = allocate(felt, choices.costs(key), choices.limit(key, average))
    assert found is not None
    return {layer: choices.candidates[at] for layer, at in zip(choices.layers, found, strict=True)}


@pytest.mark.parametrize(
    "measure", [by_loss, lambda *given: by_hessian(*given, probes=8, seed=0)], ids=["loss", "hessian"]
)
def test_a_planted_layer_keeps_its_bits(measure: Measured) -> None:
    inputs, trained = seeded(64, 8), net()
    with torch.no_grad():  # the smallest loss that there is, from which every layer moves it up
        batches: list[Batch] = [(part, trained(part)) for part in (inputs, inputs[:16])]
    choices = choices_of(net, schemes(), inputs[:2])
    assert choices.layers == ("one", "planted", "other")
    rows = measure(net, choices, schemes(), batches, functional.mse_loss)
    assert [(row.layer, row.bits) for row in rows] == [(layer, bits) for layer in choices.layers for bits in BITS]
    assert chosen(rows, choices, 4.0) == {"one": 2, "planted": 8, "other": 2}
    felt = {(row.layer, row.bits): row.sensitivity or 0.0 for row in rows}
    assert felt["planted", 2] > felt["planted", 4] > felt["planted", 8] >= 0
    assert felt["planted", 2] > 100 * abs(felt["one", 2])


def test_by_the_loss_one_layer_alone_is_quantized() -> None:
    """Against the loss of a net in which that layer is quantized by hand."""
    inputs = seeded(64, 8)
    choices = choices_of(net, schemes(), inputs[:2])
    rows = by_loss(net, choices, schemes(), [(inputs, torch.zeros(64, 4))], functional.mse_loss)
    plain, by_hand = net(), net()
    from tune_qat.quantization.model import calibrate, quantize

    alone = Scheme(weight_bits=2, activation_bits=2, float_layers=("first", "one", "other", "last"))
    by_hand = quantize(by_hand, alone, inputs[:1])
    calibrate(by_hand, inputs)
    with torch.no_grad():
        moved = by_hand(inputs).square().mean() - plain(inputs).square().mean()
    assert next(row.sensitivity for row in rows if (row.layer, row.bits) == ("planted", 2)) == pytest.approx(
        float(moved), abs=1e-6
    )


def test_costs_are_those_of_the_table_of_costs() -> None:
    inputs = seeded(64, 8)
    choices = choices_of(net, schemes(), inputs[:2])
    table = {"one": 2, "planted": 8, "other": 4}
    mixed = Scheme(weight_bits=4, activation_bits=4, layer_bits={name: (bits, bits) for name, bits in table.items()})
    _, costs = quantized_costs(net(), mixed, inputs[:2])
    for key in ("weight_bytes", "bit_operations"):
        rows = dict(zip(choices.layers, choices.costs(key), strict=True))
        spent = sum(rows[name][BITS.index(bits)] for name, bits in table.items())
        assert sum(getattr(cost, key) for cost in costs) == spent - choices.limit(key, 0.0)
        assert choices.ends(key) == tuple(
            sum(getattr(cost, key) for cost in quantized_costs(net(), schemes()[bits], inputs[:2])[1])
            for bits in (2, 8)
        )
    assert choices.ends("average_weight_bits") == (2, 8)
    assert choices.average(table) == pytest.approx(14 / 3)


def test_layers_with_bits_of_their_own_are_left_out() -> None:
    own = {bits: Scheme(weight_bits=bits, activation_bits=bits, layer_bits={"one": (4, 4)}) for bits in BITS}
    assert choices_of(net, own, seeded(2, 8)).layers == ("planted", "other")
    left = {bits: Scheme(weight_bits=bits, activation_bits=bits, float_layers=("one",)) for bits in BITS}
    assert choices_of(lambda: deepcopy(net()), left, seeded(2, 8)).layers == ("planted", "other")
