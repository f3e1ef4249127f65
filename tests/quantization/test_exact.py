"""Codes and their sums are the same bits in any order: threads, batch mates, memory formats, eager and compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.narrow import lsq
from tests.quantization.test_layer import build, calibrate
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantizers.lsq import LSQ
from tune_qat.training.compiler import compiled

# One process compiles; the others find what it compiled.
pytestmark = pytest.mark.xdist_group("inductor")

CPU = torch.device("cpu")
BATCH = 32
SIZE = 8
Forward = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def images() -> torch.Tensor:
    return 40 * torch.randn((BATCH, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))


class Sums(nn.Module):
    """Codes, and layers whose outputs are sums of codes themselves: steps of 1, no bias."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        torch.manual_seed(bits)
        self.codes = LSQ(bits=bits, kind="activation", name="codes", ste="clip_then_round")
        self.codes.calibrate(images())  # a step that does not divide exactly
        self.conv1 = self.prepared(nn.Conv2d(3, 8, 3, padding=1, bias=False), 8, images())
        self.conv2 = self.prepared(nn.Conv2d(8, 6, 3, bias=False), bits, images().new_ones(1, 8, 8, 8))
        self.linear = self.prepared(nn.Linear(216, 5, bias=False), bits, images().new_ones(1, 216))

    @staticmethod
    @torch.no_grad()
    def prepared(layer: nn.Conv2d | nn.Linear, bits: int, value: torch.Tensor) -> QuantizedLayer:
        quantized = build(layer, bits, bits)
        calibrate(quantized, value)
        assert quantized.weight_quantizer and quantized.input_quantizer and quantized.exact
        lsq(quantized.weight_quantizer).step.fill_(1.0)
        lsq(quantized.input_quantizer).step.fill_(1.0)
        layer.weight.mul_(2 ** (bits + 2))
        return quantized

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = self.conv1(value)
        second = self.conv2(first.relu())
        return self.codes(value).code, first, second, self.linear(second.relu().flatten(1))


class Unquantized(Sums):
    """The same layers on values."""

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = self.conv1.layer(value)
        second = self.conv2.layer(first.relu())
        return value, first, second, self.linear.layer(second.relu().flatten(1))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def same(left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]) -> None:
    assert [torch.equal(one, other) for one, other in zip(left, right, strict=True)] == [True] * len(left)


def check(forward: Forward) -> None:
    """Every sample has the same outputs, whatever it is computed beside and with."""
    value = images()
    expected = forward(value)
    with threads(2):
        same(forward(value), expected)
    same(forward(value.contiguous(memory_format=torch.channels_last)), expected)
    same(tuple(output.flip(0) for output in forward(value.flip(0))), expected)
    for start, stop in ((0, 1), (15, 16), (31, 32), (0, 3), (14, 17), (29, 32)):
        same(forward(value[start:stop]), tuple(output[start:stop] for output in expected))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_in_any_order(bits: int) -> None:
    model = Sums(bits)
    check(model)  # gradients wanted: the first layer takes the way of data
    with torch.no_grad():
        check(model)
    outputs = model(images())
    assert all(torch.equal(output, output.round()) for output in outputs)
    assert all(output.abs().max() > 2**bits for output in outputs[1:])


def test_the_check_fails_for_sums_of_values() -> None:
    with pytest.raises(AssertionError):
        check(Unquantized(4))


@pytest.mark.parametrize("bits", [2, 4, 8])
@torch.no_grad()
def test_sums_are_those_of_integers(bits: int) -> None:
    model = Sums(bits)
    layer, value = model.linear, 2.0**bits * torch.rand(BATCH, 216)
    assert layer.input_quantizer and layer.weight_quantizer
    x, w = layer.input_quantizer(value).code.long(), layer.weight_quantizer(layer.layer.weight).code.long()
    assert torch.equal(layer(value).long(), x @ w.T)


@pytest.mark.slow  # to compile, where nobody has
@pytest.mark.parametrize(("bits", "batch"), [(4, BATCH), (8, 3)])
def test_compiled_sums_are_those_of_eager_ones(bits: int, batch: int) -> None:
    model = Sums(bits)
    expected = model(images())
    function: Any = compiled(model, CPU)
    for count in (1, 2):
        with threads(count):
            found = function(images()[:batch])  # as in training: gradients are wanted of it
        assert found[-1].requires_grad
        same(found, tuple(output[:batch] for output in expected))


@pytest.mark.parametrize("fan_in", [515, 4096])
@torch.no_grad()
def test_beyond_the_limit_sums_are_rounded_and_the_layer_says_so(fan_in: int) -> None:
    draw = torch.Generator().manual_seed(0)
    layer = build(nn.Linear(fan_in, 3, bias=False), 8, 8)
    value = torch.rand((4, fan_in), generator=draw)
    calibrate(layer, value)
    assert not layer.exact
    assert layer.input_quantizer and layer.weight_quantizer
    layer.layer.weight.uniform_(0, 1, generator=draw)
    lsq(layer.input_quantizer).step.fill_(1 / 255)
    lsq(layer.weight_quantizer).step.fill_(1 / 127)
    x, w = layer.input_quantizer(value), layer.weight_quantizer(layer.layer.weight)
    sums = x.code.double() @ w.code.double().T  # exact: below 2^53
    assert fan_in == 515 or sums.max() > 2**24
    # All terms are positive. A sum of n float32 terms in any order is off by at most n - 1 roundings of 2^-24 of it,
    # and three more for the products with the scales.
    torch.testing.assert_close(
        layer(value).double(), sums * x.scale.double() * w.scale.double(), rtol=(fan_in + 2) * 2**-24, atol=0
    )
