"""Costs of layers: counts by hand, torch's own counter, and what an exported file takes."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tune_qat import models
from tune_qat.config import LayerCost, Scheme
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.export.state_file import _layer
from tune_qat.quantization.cost import OTHER, quantized_costs
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import quantized_parts

FULL = 16 * 16 * 9 * 32 * 32
"""Multiply-accumulates of a 3x3 convolution of ResNet-20, the same at each of its three resolutions."""
RESNET20 = 16 * 27 * 32 * 32 + (6 + 5 + 5) * FULL + 2 * FULL // 2 + 2 * (32 * 16 * 16 * 16) + 640
"""By hand: the first layer, 16 of these, two that halve the image, two shortcuts of 1x1, the last layer."""


def images(side: int, channels: int) -> ModelInput:
    return ModelInput(task=CLASSIFICATION, channels=channels, height=side, width=side, classes=10, scale=None)


def batch(side: int, channels: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def costs(model: str, scheme: Scheme, side: int, channels: int) -> dict[str, LayerCost]:
    built = models.build(model, images(side, channels), 0)
    return {one.layer: one for one in quantized_costs(built, scheme, batch(side, channels))[1]}


def test_lenet5_by_hand() -> None:
    found = costs("lenet5", Scheme(weight_bits=3, activation_bits=4), 28, 1)
    assert [(one.weight_width, one.input_width) for one in found.values()] == [(8, 8), (3, 4), (3, 4), (3, 4), (8, 8)]
    assert sum(one.macs for one in found.values()) == 416_520
    assert sum(one.parameters for one in found.values()) == 61_706
    conv2 = found["conv2"]
    assert (conv2.macs, conv2.parameters) == (16 * 150 * 100, 2416)
    # 2,400 codes of 3 bits, 16 biases and a scale of 4 bytes each; in a `.pt` a code of 3 bits takes 4.
    assert (conv2.weight_bytes, conv2.stored_bytes) == (900 + 68, 1200 + 68)
    assert conv2.activation_bytes == 6 * 14 * 14 * 4 // 8
    assert conv2.bit_operations == conv2.macs * 12
    assert found["conv1"].activation_bytes == 28 * 28 and found["conv1"].bit_operations == 117_600 * 64


@pytest.mark.parametrize(("model", "side", "macs"), [("resnet20_cifar", 32, RESNET20), ("mobilenet_v2", 96, None)])
def test_all_layers_make_up_what_torch_counts(model: str, side: int, macs: int | None) -> None:
    net = models.build(model, images(side, 3), 0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(batch(side, 3, 1))
    found = costs(model, Scheme(weight_bits=4, activation_bits=4), side, 3)
    total = sum(one.macs for one in found.values())
    assert total == counter.get_total_flops() // 2 and total == (macs or total)
    assert sum(one.parameters for one in found.values()) == sum(one.numel() for one in net.parameters())
    norms = [one for one in found.values() if one.type.startswith("BatchNorm")]
    assert norms and all(one.macs == 0 and one.weight_bytes == 4 * one.parameters for one in norms)


@pytest.mark.parametrize(
    ("quantizer", "bits", "options"),
    [("lsq", 2, {"per_channel": True}), ("lsq", 5, {}), ("ttq", 2, {}), ("twn", 2, {}), ("dorefa", 3, {})],
)
def test_bytes_are_those_of_the_exported_layer(quantizer: str, bits: int, options: dict[str, bool]) -> None:
    other: dict[str, Any] = {} if quantizer in ("lsq", "dorefa") else {"activation_quantizer": "lsq"}
    first_last: dict[str, Any] = {} if quantizer in ("lsq", "dorefa") else {"first_last_bits": 2}
    scheme = Scheme(quantizer=quantizer, weight_bits=bits, activation_bits=4, options=options, **other, **first_last)
    model = models.build("lenet5_bn", images(28, 1), 0)
    model, found = quantized_costs(model, scheme, batch(28, 1))
    by_name = {one.layer: one for one in found}
    for part in quantized_parts(model):
        assert isinstance(part, QuantizedLayer)
        stored = _layer(part)
        weight, bias = stored["weight"], stored["bias"]
        numbers = [weight["scale"], weight.get("offset"), bias]
        size = sum(4 * one.numel() for one in numbers if one is not None)
        codes = weight["codes"].numel() if "codes" in weight else 4 * weight["value"].numel()
        assert by_name[part.name].stored_bytes == codes + size, part.name


def test_floating_point_costs_32_bits_everywhere() -> None:
    found = costs("lenet5", Scheme.floating_point(), 28, 1)
    assert {(one.weight_width, one.input_width) for one in found.values()} == {(32, 32)}
    assert sum(one.weight_bytes for one in found.values()) == 4 * 61_706
    assert sum(one.bit_operations for one in found.values()) == 416_520 * 1024


@pytest.mark.parametrize("attention", [True, False])
def test_products_of_attention_are_layers_or_the_rest(attention: bool) -> None:
    """Of one block: 5 tokens (4 and the class), 2 heads of 4 features; each product 2 x 5 x 5 x 4."""
    from timm.models.vision_transformer import VisionTransformer

    shape: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
    scheme = Scheme(weight_bits=4, activation_bits=3, attention=attention)
    _, found = quantized_costs(VisionTransformer(**shape), scheme, batch(8, 3))
    by_name = {one.layer: one for one in found}
    if not attention:
        assert by_name[OTHER].macs == 400 and by_name[OTHER].bit_operations == 400 * 1024
        return
    qk, av = by_name["blocks.0.attn.qk"], by_name["blocks.0.attn.av"]
    assert (qk.macs, av.macs) == (200, 200) and OTHER not in by_name
    assert (qk.weight_width, qk.input_width, qk.parameters, qk.weight_bytes) == (3, 3, 0, 0)
    assert qk.activation_bytes == math.ceil((40 + 40) * 3 / 8) and av.activation_bytes == math.ceil((50 + 40) * 3 / 8)
    assert qk.bit_operations == 200 * 9


def test_a_layer_that_is_used_twice_counts_twice_and_is_stored_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(self.one(x).relu())

    _, found = quantized_costs(Twice(), Scheme(weight_bits=4, activation_bits=4), torch.randn(2, 6))
    assert [(one.macs, one.parameters) for one in found] == [(72, 42)]
