"""First layers: the way around the data gives the gradients of the way through it."""

from collections.abc import Callable

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from tests.helpers.narrow import lsq
from tests.quantization.test_layer import build, calibrate
from tune_qat.quantization import layer as quantized_layer
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_ops import Layer, can_operate_on_data, operate_on_data

ON_DATA: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (5, 3, 6, 7)),
    "one channel": (lambda: nn.Conv2d(1, 4, 5, padding=2, bias=False), (5, 1, 8, 8)),
    "strided": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=(2, 1)), (5, 3, 7, 8)),
    "dilated": (lambda: nn.Conv2d(3, 4, 3, dilation=2), (5, 3, 8, 7)),
    "signal": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1), (5, 2, 9)),
    "volume": (lambda: nn.Conv3d(2, 3, 2, padding=(0, 1, 0), dilation=(1, 2, 1)), (3, 2, 3, 4, 3)),
    "linear": (lambda: nn.Linear(20, 6), (5, 20)),
    "linear over tokens": (lambda: nn.Linear(20, 6), (5, 3, 20)),
}
THROUGH_DATA: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (5, 4, 6, 7)),
    "named padding": (lambda: nn.Conv2d(3, 4, 3, padding="same"), (5, 3, 6, 7)),
    "as TensorFlow pads": (lambda: Conv2dSame(3, 4, 3, stride=2), (5, 3, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), (5, 3, 4, 5)),
}


def prepared(name: str, weight_bits: int | None = 4) -> tuple[QuantizedLayer, torch.Tensor, torch.Tensor]:
    """A calibrated layer, a batch with clipped values, and the gradient of its output, in double precision."""
    torch.manual_seed(0)
    make, shape = (ON_DATA | THROUGH_DATA)[name]
    layer = build(make().double(), weight_bits, 4).double()
    value = torch.randn(shape, dtype=torch.float64)
    calibrate(layer, value)
    assert layer.input_quantizer is not None
    with torch.no_grad():
        lsq(layer.input_quantizer).step.mul_(0.5)
    return layer, value, torch.randn(layer(value).shape, dtype=torch.float64)


def gradients(layer: QuantizedLayer, value: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad((upstream * layer(value)).sum(), list(layer.parameters())))


def check(name: str, weight_bits: int | None) -> None:
    layer, value, upstream = prepared(name, weight_bits)
    through = layer(value.clone().requires_grad_())
    assert torch.equal(layer(value), through)
    expected = gradients(layer, value.clone().requires_grad_(), upstream)
    for found, wished in zip(gradients(layer, value, upstream), expected, strict=True):
        torch.testing.assert_close(found, wished, rtol=1e-12, atol=1e-12)  # double precision, sums of some hundreds
    assert all(gradient.abs().max() > 1e-6 for gradient in expected)


@pytest.mark.parametrize("weight_bits", [4, None])
@pytest.mark.parametrize("name", ON_DATA | THROUGH_DATA)
def test_gradients_are_those_of_the_way_through_the_data(name: str, weight_bits: int | None) -> None:
    layer, *_ = prepared(name)
    assert can_operate_on_data(layer.layer) == (name in ON_DATA)
    check(name, weight_bits)


def test_the_check_fails_where_the_step_gets_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    real = operate_on_data
    monkeypatch.setattr(
        quantized_layer,
        "operate_on_data",
        lambda layer, inputs, weight, parameter, slope: real(layer, inputs, weight, parameter, 0 * slope),
    )
    with pytest.raises(AssertionError):
        check("conv", 4)


def test_the_check_fails_where_the_weight_has_the_slopes_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    real = operate_on_data
    monkeypatch.setattr(
        quantized_layer,
        "operate_on_data",
        lambda layer, inputs, weight, parameter, slope: real(layer, inputs + slope, weight, parameter, slope),
    )
    with pytest.raises(AssertionError):
        check("linear", 4)


def test_evaluation_needs_no_slope() -> None:
    layer, value, _ = prepared("conv")
    with torch.no_grad():
        assert torch.equal(layer(value), layer(value.requires_grad_()))
