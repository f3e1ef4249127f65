"""Layers on codes with an offset, or in planes, against the same layer on dequantized values."""

from typing import Any

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.func import functional_call

from tests.quantizers.comparison import case
from tests.references import lsq as reference
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.lsq import LSQ

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 4), (5, 6)),
    "linear of rows": (nn.Linear(6, 4), (5, 3, 6)),
    "padded": (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 5)),
    "strided and dilated": (nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, bias=False), (2, 4, 9, 9)),
    "uneven padding": (nn.Conv2d(4, 6, 2, padding="same"), (2, 4, 5, 5)),
    "grouped": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 5, 5)),
    "signal": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7)),
    "volume": (nn.Conv3d(2, 3, 2, padding=1), (2, 2, 3, 3, 4)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (2, 4, 4, 5)),
    "transposed in groups": (nn.ConvTranspose2d(4, 6, (3, 2), dilation=2, groups=2, bias=False), (2, 4, 4, 5)),
    "as TensorFlow pads": (Conv2dSame(4, 6, 3, stride=2), (2, 4, 6, 5)),
    "the same, depthwise": (Conv2dSame(4, 4, 5, stride=2, groups=4, bias=False), (2, 4, 7, 8)),
}
OFFSETS = [(None, None), (0.7, None), (None, -0.3), (-0.7, 0.3)]


class Given(Quantizer):
    """Gives back what it was given."""

    def __init__(self, codes: Codes, kind: str) -> None:
        super().__init__(bits=4, kind=kind, name="layer")
        self.calibrated = True
        self._given = codes

    def _bounds(self, signed: bool) -> tuple[int, int]:
        return -7, 7

    def _calibrate(self, value: torch.Tensor) -> None:
        """Nothing."""

    def _codes(self, value: torch.Tensor) -> Codes:
        return self._given


def offset(value: float | None) -> torch.Tensor | None:
    return None if value is None else torch.tensor(value, dtype=torch.float64)


def example(name: str, of_inputs: float | None, of_weight: float | None, planes: int) -> tuple[Any, Codes, Codes]:
    """A layer in double precision, and the codes of its input and of its weight."""
    layer, shape = LAYERS[name]
    layer = layer.double()
    weight = reference.rows(layer, layer.weight)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(len(name))
    code = torch.randint(-7, 8, shape, generator=draw).double().requires_grad_()
    rows = (weight.shape[0] * planes, *weight.shape[1:])
    filters = torch.randint(-7, 8, rows, generator=draw).double().requires_grad_()
    scales = 0.1 + torch.rand((rows[0], *(1,) * (weight.dim() - 1)), generator=draw, dtype=torch.float64)
    inputs = Codes(code, torch.tensor(0.2, dtype=torch.float64), offset(of_inputs))
    return layer, inputs, Codes(filters, scales, offset(of_weight), planes=planes)


def check(kind: type[QuantizedLayer], name: str, of_inputs: float | None, of_weight: float | None, planes: int) -> None:
    layer, inputs, weight = example(name, of_inputs, of_weight, planes)
    quantized = kind(
        layer, name="layer", index=0, weight=Given(weight, "weight"), inputs=Given(inputs, "activation")
    ).double()
    found = quantized(inputs.code)
    x, w = inputs.value.requires_grad_(), weight.value.requires_grad_()
    # What the library's own layer does with these.
    expected = functional_call(layer, {"weight": reference.from_rows(layer, w)}, x)
    close(found, expected)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_code, by_filter = torch.autograd.grad((upstream * found).sum(), (inputs.code, weight.code))
    by_x, by_w = torch.autograd.grad((upstream * expected).sum(), (x, w))
    # The gradient that reaches codes is their scale times that of the value, in each plane.
    close(by_code, by_x * inputs.scale)
    close(by_filter, by_w.repeat_interleave(planes, 0) * weight.scale)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    # Double precision: sums of at most 200 terms of order 10, in two orders.
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_on_codes_is_the_layer_on_values(name: str, planes: int) -> None:
    for of_inputs, of_weight in OFFSETS:
        with case(of_inputs, of_weight):
            check(QuantizedLayer, name, of_inputs, of_weight, planes)


@pytest.mark.parametrize("of_weight", [None, -0.3])
@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("name", ["linear", "padded", "grouped"])
def test_the_step_of_a_first_layer_learns_through_all_that_its_codes_are_in(
    name: str, planes: int, of_weight: float | None
) -> None:
    layer, _, weight = example(name, None, of_weight, planes)
    value = torch.randn(LAYERS[name][1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = LSQ(bits=3, kind="activation", name="layer", ste="clip_then_round").double()
    step.calibrate(value)
    quantized = QuantizedLayer(layer, name="layer", index=0, weight=Given(weight, "weight"), inputs=step).double()
    # Data needs no gradient, and takes the shorter way where there is one; a hidden input does not.
    codes_of_constant, of_hidden = (
        torch.autograd.grad(quantized(given).square().sum(), step.step)[0]
        for given in (value, value.clone().requires_grad_())
    )
    close(codes_of_constant, of_hidden)


class OffsetInPadding(QuantizedLayer):
    """Adds the offset of the inputs in the padding too."""

    def _of_offsets(self, inputs: Codes, weight: Codes) -> torch.Tensor:
        assert inputs.offset is not None
        sums = weight.code.flatten(1).sum(1) * weight.scale.flatten() * inputs.offset
        return sums.reshape(-1, *(1,) * (self.layer.weight.dim() - 2))


class NoProductOfOffsets(QuantizedLayer):
    """Forgets the product of the two offsets."""

    def _of_offsets(self, inputs: Codes, weight: Codes) -> torch.Tensor:
        one, other = inputs._replace(offset=None), weight._replace(offset=None)
        return super()._of_offsets(one, weight) + super()._of_offsets(inputs, other)


class PlanesApart(QuantizedLayer):
    """Takes the first half of the rows for the first plane."""

    def _of_planes(self, output: torch.Tensor, weight: Codes) -> torch.Tensor:
        return output.unflatten(1, (weight.planes, -1)).sum(1)


@pytest.mark.parametrize(
    ("mutant", "of_inputs", "of_weight", "planes"),
    [(OffsetInPadding, 0.7, None, 1), (NoProductOfOffsets, 0.7, 0.3, 1), (PlanesApart, None, None, 2)],
)
def test_the_check_sees_a_layer_that_is_wrong(
    mutant: type[QuantizedLayer], of_inputs: float | None, of_weight: float | None, planes: int
) -> None:
    with pytest.raises(AssertionError, match="not close"):
        check(mutant, "padded", of_inputs, of_weight, planes)
