"""A layer on integer codes against the same layer on operands that were dequantized first."""

import io
import math
from collections.abc import Callable

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from timm.layers.std_conv import StdConv2d
from torch import nn

from tests.helpers.narrow import lsq
from tests.references import lsq as reference
from tune_qat.config import STE_VARIANTS, UsageError
from tune_qat.quantization.layer import EXACT_LIMIT, QuantizedLayer
from tune_qat.quantization.layer_ops import Layer, fan_in
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.lsq import LSQ

LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (5, 3, 6, 7)),
    "strided": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=(2, 1), bias=False), (5, 3, 7, 8)),
    "dilated": (lambda: nn.Conv2d(3, 4, 3, dilation=2, padding="same"), (5, 3, 6, 7)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (5, 4, 6, 7)),
    "signal": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1), (5, 3, 9)),
    "grouped signal": (lambda: nn.Conv1d(4, 6, 3, padding="same", dilation=2, groups=2, bias=False), (5, 4, 9)),
    "volume": (lambda: nn.Conv3d(2, 4, (2, 3, 3), stride=(1, 2, 1), padding=1), (3, 2, 4, 5, 6)),
    "depthwise volume": (lambda: nn.Conv3d(3, 3, 2, groups=3, bias=False), (3, 3, 3, 4, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (5, 3, 4, 5)),
    "grouped transposed": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2, bias=False),
        (5, 4, 4, 5),
    ),
    "linear": (lambda: nn.Linear(20, 6), (5, 20)),
    "linear without bias": (lambda: nn.Linear(20, 6, bias=False), (5, 20)),
    "linear over tokens": (lambda: nn.Linear(20, 6), (5, 3, 20)),
}


def build(
    layer: Layer, weight_bits: int | None, input_bits: int | None, ste: str = "clip_then_round"
) -> QuantizedLayer:
    weight = LSQ(bits=weight_bits, kind="weight", name="layer", ste=ste) if weight_bits else None
    inputs = LSQ(bits=input_bits, kind="activation", name="layer", ste=ste) if input_bits else None
    return QuantizedLayer(layer, name="layer", index=0, weight=weight, inputs=inputs)


def calibrate(layer: QuantizedLayer, value: torch.Tensor) -> None:
    layer.calibrating = True
    with torch.no_grad():
        layer(value)


def example(name: str, signed: bool) -> tuple[Layer, torch.Tensor, torch.Tensor]:
    """A layer in double precision, a batch, and the gradient of the loss by its output."""
    torch.manual_seed(len(name) + signed)
    make, shape = LAYERS[name]
    layer = make().double()
    value = torch.randn(shape, dtype=torch.float64)
    # No value on the very end of the unsigned range, where autograd's clamp and equation 3 differ.
    value = value if signed else value.abs() + 1e-3
    return layer, value, torch.randn(layer(value).shape, dtype=torch.float64)


def check(quantized: QuantizedLayer, value: torch.Tensor, upstream: torch.Tensor) -> None:
    """Output and every gradient against operands that were dequantized first, which autograd differentiates."""
    layer, x = quantized.layer, value.clone().requires_grad_()
    wanted = [x, *quantized.parameters()]
    output = quantized(x)
    weight = dequantized(reference.rows(layer, layer.weight), quantized.weight_quantizer)
    expected = reference.dequantized_layer(
        layer, dequantized(x, quantized.input_quantizer), reference.from_rows(layer, weight)
    )
    # Double precision; sums of at most a few thousand terms of order 1, up to 255 times a step.
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad((upstream * output).sum(), wanted)
    expected_gradients = torch.autograd.grad((upstream * expected).sum(), wanted)
    for got, wished in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(got, wished, rtol=1e-10, atol=1e-10)  # double precision, as above


def dequantized(tensor: torch.Tensor, quantizer: Quantizer | None) -> torch.Tensor:
    if quantizer is None:
        return tensor
    q_n, q_p = reference.grid(quantizer.bits, quantizer.signed)
    features = tensor[0].numel() if quantizer.kind == "activation" or lsq(quantizer).step.dim() else tensor.numel()
    return reference.quantize_by_autograd(
        tensor,
        lsq(quantizer).step,
        q_n=q_n,
        q_p=q_p,
        gradient_scale=1 / math.sqrt(features * q_p),
        round_first=isinstance(quantizer, LSQ) and quantizer._round_first,
    )


BITS = [(2, 2), (4, 4), (8, 8), (3, None), (None, 3)]
OF_A_LAYER = [
    # Bits and order are the quantizers', and what the layer does with their codes is not told of them.
    *((name, (4, 4), signed, STE_VARIANTS[0]) for name in LAYERS for signed in (True, False)),
    *(("conv", bits, ste == STE_VARIANTS[0], ste) for bits in BITS for ste in STE_VARIANTS if bits != (4, 4)),
    ("conv", (4, 4), True, STE_VARIANTS[1]),
]


@pytest.mark.parametrize(("name", "bits", "signed", "ste"), OF_A_LAYER)
def test_equals_dequantizing_first(name: str, bits: tuple[int | None, int | None], signed: bool, ste: str) -> None:
    weight_bits, input_bits = bits
    layer, value, upstream = example(name, signed)
    quantized = build(layer, weight_bits, input_bits, ste).double()
    calibrate(quantized, value)
    for quantizer, wanted in ((quantized.weight_quantizer, weight_bits), (quantized.input_quantizer, input_bits)):
        assert (quantizer and quantizer.bits) == wanted
    assert quantized.input_quantizer is None or quantized.input_quantizer.signed == signed
    check(quantized, value, upstream)


@pytest.mark.parametrize("ste", STE_VARIANTS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_step_for_each_output_channel(name: str, ste: str) -> None:
    layer, value, upstream = example(name, True)
    quantized = build(layer, 4, 4, ste).double()
    quantized.weight_quantizer = LSQ(
        bits=4, kind="weight", name="layer", ste=ste, shape=reference.rows(layer, layer.weight).shape, per_channel=True
    ).double()
    calibrate(quantized, value)
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    assert lsq(quantized.weight_quantizer).step.shape == (outputs, *(1,) * (layer.weight.dim() - 1))
    check(quantized, value, upstream)


class InputScaleForgotten(QuantizedLayer):
    def _input_codes(self, value: torch.Tensor, weight: Codes) -> Codes:
        return super()._input_codes(value, weight)._replace(scale=torch.ones((), dtype=value.dtype))


class WeightScaleForgotten(QuantizedLayer):
    def _of_channels(self, values: torch.Tensor) -> torch.Tensor:
        return super()._of_channels(values) if values.dim() else torch.ones_like(values)


class BiasForgotten(QuantizedLayer):
    def _of_channels(self, values: torch.Tensor) -> torch.Tensor:
        return super()._of_channels(0 * values if values is self.layer.bias else values)


class InputOfData(QuantizedLayer):
    """No gradient reaches the layer before."""

    def _forward(self, value: torch.Tensor) -> torch.Tensor:
        return super()._forward(value.detach() + 0 * value)


class PadsWithOnes(QuantizedLayer):
    def _forward(self, value: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(value, (1, 1, 1, 1), value=1.0)
        return super()._forward(padded)[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize("wrong", [InputScaleForgotten, WeightScaleForgotten, BiasForgotten, InputOfData, PadsWithOnes])
def test_the_check_fails_for_a_wrong_layer(wrong: type[QuantizedLayer]) -> None:
    layer, value, upstream = example("conv", True)
    right = build(layer, 4, 4).double()
    calibrate(right, value)
    check(right, value, upstream)
    mutant = wrong(layer, name="layer", index=0, weight=right.weight_quantizer, inputs=right.input_quantizer)
    with pytest.raises(AssertionError):
        check(mutant, value, upstream)


def test_zeros_of_a_relu_carry_no_gradient() -> None:
    # MethodSide of an unsigned tensor lies on the end of its range; there ReLU's own derivative is 0 as well.
    torch.manual_seed(0)
    layer = nn.Linear(20, 6)
    quantized = build(layer, 4, 4)
    before = torch.randn(8, 20, requires_grad=True)
    calibrate(quantized, before.relu())
    assert quantized.input_quantizer is not None and not quantized.input_quantizer.signed
    (torch.randn(8, 6) * quantized(before.relu())).sum().backward()
    assert before.grad is not None
    assert torch.equal(before.grad[before <= 0], torch.zeros_like(before.grad[before <= 0]))
    assert (before.grad[(before > 0) & (before < 0.5)] != 0).all()


def test_padding_is_a_real_zero() -> None:
    torch.manual_seed(0)
    value = torch.randn(2, 3, 5, 5)
    with_padding = build(nn.Conv2d(3, 4, 3, padding=1), 4, 4)
    calibrate(with_padding, value)
    by_hand = build(nn.Conv2d(3, 4, 3), 4, 4)
    by_hand.layer.load_state_dict(with_padding.layer.state_dict())
    calibrate(by_hand, value)
    assert torch.equal(with_padding(value), by_hand(nn.functional.pad(value, (1, 1, 1, 1))))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("weight_bits", "input_bits"), [(4, 4), (4, None), (None, 4)])
def test_stays_in_float32_under_autocast(name: str, weight_bits: int | None, input_bits: int | None) -> None:
    layer, value, _ = example(name, True)
    quantized, value = build(layer.float(), weight_bits, input_bits), value.float()
    calibrate(quantized, value)
    plain = quantized(value)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = quantized(value)
        from_bfloat16 = quantized(value.bfloat16())
    assert under_autocast.dtype == from_bfloat16.dtype == torch.float32
    assert torch.equal(under_autocast, plain)
    assert torch.equal(from_bfloat16, quantized(value.bfloat16().float()))


class TestExact:
    # Largest codes: 128 signed, 255 unsigned at 8 bit; 2^24 / (128 * 255) = 514.01.
    @pytest.mark.parametrize(("fan_in", "expected"), [(514, True), (515, False)])
    def test_follows_from_the_largest_codes_and_the_fan_in(self, fan_in: int, expected: bool) -> None:
        quantized = build(nn.Linear(fan_in, 2), 8, 8)
        calibrate(quantized, torch.rand(2, fan_in))
        assert EXACT_LIMIT == 2**24
        assert quantized.exact is expected

    # Both signed: 128 * 128 * 1024 is 2^24 itself, which float32 still holds.
    @pytest.mark.parametrize(("fan_in", "expected"), [(1024, True), (1025, False)])
    def test_sums_may_reach_the_limit_itself(self, fan_in: int, expected: bool) -> None:
        quantized = build(nn.Linear(fan_in, 2), 8, 8)
        calibrate(quantized, torch.linspace(-1, 1, 2 * fan_in).reshape(2, fan_in))
        assert quantized.input_quantizer is not None and quantized.input_quantizer.signed
        assert quantized.exact is expected

    @pytest.mark.parametrize(("channels", "expected"), [(57, True), (58, False)])
    def test_fan_in_of_a_convolution_is_that_of_a_group(self, channels: int, expected: bool) -> None:
        # 57 * 9 = 513 weights reach an output, 58 * 9 = 522.
        quantized = build(nn.Conv2d(2 * channels, 2, 3, groups=2), 8, 8)
        calibrate(quantized, torch.rand(1, 2 * channels, 3, 3))
        assert quantized.exact is expected

    @pytest.mark.parametrize("dilation", [1, 2, 3])
    @pytest.mark.parametrize("stride", [1, 2, 3, 4])
    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_fan_in_of_a_transposed_convolution_is_the_most_taps_that_meet(
        self, size: int, stride: int, dilation: int
    ) -> None:
        layer = nn.ConvTranspose2d(6, 4, size, stride=stride, dilation=(dilation, 1), groups=2, bias=False)
        nn.init.ones_(layer.weight)
        with torch.no_grad():
            assert fan_in(layer) == layer(torch.ones(1, 6, 12, 12)).max()

    def test_needs_both_operands(self) -> None:
        for weight_bits, input_bits in ((4, None), (None, 4)):
            quantized = build(nn.Linear(3, 2), weight_bits, input_bits)
            calibrate(quantized, torch.rand(2, 3))
            assert not quantized.exact

    def test_sums_at_the_limit_are_the_integers(self) -> None:
        generator = torch.Generator().manual_seed(0)
        quantized = build(nn.Linear(514, 8, bias=False), 8, 8)
        value = torch.rand(16, 514, generator=generator)
        calibrate(quantized, value)
        assert quantized.input_quantizer is not None and quantized.weight_quantizer is not None
        with torch.no_grad():
            lsq(quantized.input_quantizer).step.fill_(1.0)
            lsq(quantized.weight_quantizer).step.fill_(1.0)
            codes_x = torch.randint(0, 256, (16, 514), generator=generator)
            codes_w = torch.randint(-128, 128, (8, 514), generator=generator)
            codes_x[0], codes_w[0] = 255, -128
            quantized.layer.weight.copy_(codes_w)
            output = quantized(codes_x.float())
        assert torch.equal(output.long(), codes_x @ codes_w.T)


class TestRefusals:
    def test_padding_that_is_not_zero(self) -> None:
        with pytest.raises(UsageError, match=r"'layer'.*'reflect'"):
            build(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), 4, 4)

    @pytest.mark.parametrize("method", ["forward", "_conv_forward"])
    def test_a_subclass_with_a_rule_of_its_own(self, method: str) -> None:
        def doubled(self: nn.Conv2d, *values: torch.Tensor) -> torch.Tensor:
            return 2 * getattr(nn.Conv2d, method)(self, *values)

        kind = type("Doubled", (nn.Conv2d,), {method: doubled})
        with pytest.raises(UsageError, match=r"'layer' is a Doubled; only Linear, Conv1d, .* subclasses"):
            build(kind(3, 4, 3), 4, 4)

    def test_a_linear_subclass_with_a_rule_of_its_own(self) -> None:
        class Doubled(nn.Linear):
            def forward(self, input: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(input)

        with pytest.raises(UsageError, match=r"'layer' is a Doubled"):
            build(Doubled(3, 4), 4, 4)

    def test_standardized_weights_of_timm(self) -> None:
        with pytest.raises(UsageError, match=r"'layer' is a StdConv2d"):
            build(StdConv2d(3, 4, 3), 4, 4)

    def test_a_weight_that_is_worked_out(self) -> None:
        layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
        with pytest.raises(UsageError, match=r"'layer' computes its weight from others"):
            build(layer, 4, 4)


class TestSubclasses:
    def test_one_that_inherits_all_it_does(self) -> None:
        class Named(nn.Conv2d):
            pass

        torch.manual_seed(0)
        plain, named = nn.Conv2d(3, 4, 3, padding=1), Named(3, 4, 3, padding=1)
        named.load_state_dict(plain.state_dict())
        value, outputs = torch.randn(2, 3, 5, 5), []
        for layer in (plain, named):
            quantized = build(layer, 4, 4)
            calibrate(quantized, value)
            outputs.append(quantized(value))
        assert torch.equal(*outputs)

    @pytest.mark.parametrize("size", [(6, 7), (7, 8), (5, 5)])
    @pytest.mark.parametrize("stride", [1, 2, 3])
    def test_conv2d_same_pads_as_it_does_in_floating_point(self, stride: int, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        layer, value = Conv2dSame(3, 4, 4, stride=stride), torch.randn(2, 3, *size)
        quantized = build(layer, 8, 8)
        calibrate(quantized, value)
        expected, found = layer(value), quantized(value)
        assert found.shape == expected.shape
        # Eight bits: steps of about 2 * 0.8 / 11.3 = 0.14 for inputs and 0.01 for weights of about 0.07 in size; half a
        # step at most off in each of 48 products, in random directions. A pixel of padding elsewhere is off by 0.5.
        torch.testing.assert_close(found, expected, rtol=0, atol=0.15)
        # Exactly: the same layer without padding on images that have it.
        bare = build(nn.Conv2d(3, 4, 4, stride=stride), 8, 8)
        bare.load_state_dict(quantized.state_dict())
        assert torch.equal(found, bare(pad_same(value, [4, 4], [stride, stride])))


def test_state_goes_through_a_file_of_plain_data() -> None:
    torch.manual_seed(0)
    value = torch.rand(4, 3, 6, 6)  # unsigned, which is not what a fresh quantizer is
    quantized = build(nn.Conv2d(3, 4, 3), 4, 4)
    calibrate(quantized, value)
    file = io.BytesIO()
    torch.save(quantized.state_dict(), file)
    file.seek(0)
    again = build(nn.Conv2d(3, 4, 3), 4, 4)
    kept = dict(again.named_parameters())
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.input_features == 3 * 6 * 6
    assert torch.equal(again(value), quantized(value))
    assert all(parameter is kept[name] for name, parameter in again.named_parameters())
