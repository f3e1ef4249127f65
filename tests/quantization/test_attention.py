"""Vision transformers of timm: quantized as they are, and with the products of their attention."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from timm.layers.attention import Attention
from timm.layers.linear import Linear
from timm.models.beit import Beit
from timm.models.davit import DaVit
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer, WindowAttention
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.xcit import Xcit
from torch import nn

from tests.helpers.narrow import lsq
from tests.references import attention as plain
from tests.references import lsq as reference
from tune_qat.config import Scheme, UsageError
from tune_qat.quantization.attention import UnfusedAttention, UnfusedWindowAttention, unfuse
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import calibrate, products, quantize, quantized_layers
from tune_qat.quantization.products import Product
from tune_qat.quantizers.base import Quantizer

SMALL: dict[str, Any] = {
    "img_size": 28,
    "patch_size": 7,
    "in_chans": 1,
    "num_classes": 5,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
}
WINDOWS: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 4,
    "in_chans": 1,
    "num_classes": 5,
    "embed_dim": 12,
    "window_size": 4,
}


def gated(model: VisionTransformer) -> nn.Module:
    for block in model.blocks:
        block.attn = Attention(24, 3, qk_norm=True, scale_norm=True, gated=True, norm_layer=nn.LayerNorm)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "vit": (lambda: VisionTransformer(**SMALL), 28),
    "vit with norms and gates": (lambda: gated(VisionTransformer(**SMALL)), 28),
    "deit": (lambda: VisionTransformerDistilled(**SMALL), 28),
    "swin": (lambda: SwinTransformer(**WINDOWS, depths=(2, 2), num_heads=(2, 4)), 32),
}
SCHEME = Scheme(attention=True)


def example(name: str) -> tuple[nn.Module, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make, size = MODELS[name]
        return make().eval(), torch.randn(3, 1, size, size)


@pytest.mark.parametrize("name", MODELS)
def test_all_linear_layers_are_quantized_as_they_are(name: str) -> None:
    model, images = example(name)
    layers = {name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    quantize(model, Scheme(weight_bits=3, activation_bits=5), images[:1])
    calibrate(model, images)
    found = quantized_layers(model)
    assert {layer.name for layer in found} == layers and not products(model)
    bits = [layer.weight_quantizer.bits for layer in found if layer.weight_quantizer]
    assert found[0].name == "patch_embed.proj" and bits == [8, *[3] * (len(layers) - 2), 8]
    model.train()(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_unfused_it_is_timms_own_to_rounding(name: str) -> None:
    model, images = example(name)
    with torch.no_grad():
        expected = model(images)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        assert len(unfuse(model)) == 2 * sum(
            isinstance(module, (Attention, WindowAttention)) for module in model.modules()
        )
        # Float32: the fused operation adds in another order, over two to four blocks; outputs are of order 1.
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", MODELS)
def test_products_are_in_the_record_with_rows_of_their_own(name: str) -> None:
    model, images = example(name)
    quantize(model, Scheme(activation_bits=3, attention=True), images[:1])
    calibrate(model, images)
    model.train()(images).square().sum().backward()
    rows = [row for row in layer_results(model) if row.layer.endswith((".qk", ".av"))]
    assert len(rows) == 4 * len(products(model)) / 2
    for query, key, probabilities, value in zip(*[iter(rows)] * 4, strict=True):
        assert [one.kind for one in (query, key, probabilities, value)] == ["query", "key", "probabilities", "value"]
        assert query.layer.endswith(".attn.qk") and value.layer == query.layer.removesuffix("qk") + "av"
        assert [one.signed for one in (query, key, probabilities, value)] == [True, True, False, True]
        assert query.layer_index + 1 == value.layer_index and all(one.bits == 3 and one.exact for one in (query, value))
    order = [row.layer for row in layer_results(model)]
    first = order[[row.endswith(".qk") for row in order].index(True)].removesuffix("qk")
    inside = list(dict.fromkeys(row for row in order if row.startswith(first)))
    assert [name.removeprefix(first) for name in inside if not name.endswith("gate")] == ["qkv", "qk", "av", "proj"]
    steps = [p for name, p in model.named_parameters() if ".qk." in name or ".av." in name]
    assert len(steps) == len(rows) and all(step.grad is not None and step.grad != 0 for step in steps)


def dequantizing(quantizer: Quantizer | None) -> plain.Operand:
    assert quantizer is not None
    q_n, q_p = reference.grid(quantizer.bits, quantizer.signed)

    def operand(value: torch.Tensor) -> torch.Tensor:
        scale = 1 / math.sqrt(value[0].numel() * q_p)
        step = lsq(quantizer).step
        return reference.quantize_by_autograd(value, step, q_n=q_n, q_p=q_p, gradient_scale=scale, round_first=False)

    return operand


def twin(
    attention: UnfusedAttention | UnfusedWindowAttention, tokens: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """A plain forward with dequantized operands, its linear layers those of the module; mask (b, 1, n, n)."""
    batch, count, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(batch, count, 3, attention.num_heads, -1)
    query, key, value = (qkv[:, :, place].transpose(1, 2) for place in range(3))
    bias = attention._get_rel_pos_bias() if isinstance(attention, UnfusedWindowAttention) else 0.0
    operands = {
        "query": dequantizing(attention.qk.left_quantizer),
        "key": dequantizing(attention.qk.right_quantizer),
        "probabilities": dequantizing(attention.av.left_quantizer),
        "value": dequantizing(attention.av.right_quantizer),
    }
    scale = query.shape[-1] ** -0.5
    found = plain.attended(query, key, value, mask + bias, scale=scale, operands=operands)
    return attention.proj(found.transpose(1, 2).flatten(2))


class Blocks(nn.Module):
    """Attention between two layers, which take the bits of the first and the last."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.before, self.attention, self.after = nn.Linear(8, 8), attention, nn.Linear(8, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.after(self.attention(self.before(tokens)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", [Attention, WindowAttention])
def test_outputs_and_gradients_are_those_of_dequantizing_first(kind: Callable[..., nn.Module], masked: bool) -> None:
    torch.manual_seed(0)
    options = {"window_size": 2} if kind is WindowAttention else {"qkv_bias": True}
    model, tokens = Blocks(kind(8, num_heads=2, **options)).eval(), torch.randn(6, 4, 8)
    quantize(model, Scheme(activation_bits=3, weight_bits=32, first_last_bits=32, attention=True), tokens[:1])
    model, tokens = model.double(), tokens.double()
    calibrate(model, tokens)
    attention, inputs = model.attention, torch.randn(6, 4, 8, dtype=torch.float64, requires_grad=True)
    # Not minus infinity, for which no gradient would be left; two windows, the images one after the other.
    draw = torch.randn(2, 4, 4, dtype=torch.float64) if kind is WindowAttention else torch.randn(4, 4).double()
    mask = draw if masked else None
    if mask is None:
        added = torch.zeros(6, 1, 4, 4, dtype=torch.float64)
    else:
        added = mask.repeat(3, 1, 1).unsqueeze(1) if kind is WindowAttention else mask.expand(6, 1, 4, 4)
    found, expected = attention(inputs, mask), twin(attention, inputs, added)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)  # double precision, some dozens of terms
    upstream = torch.randn(found.shape, dtype=torch.float64)
    wanted = [inputs, *attention.parameters()]
    gradients = [torch.autograd.grad((upstream * one).sum(), wanted) for one in (found, expected)]
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])
    for got, wished in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wished, rtol=1e-9, atol=1e-11)


def test_weights_alone_leave_the_products_in_floating_point() -> None:
    model, images = example("vit")
    quantize(model, Scheme(activation_bits=32, attention=True), images[:1])
    calibrate(model, images)
    assert {row.kind for row in layer_results(model)} == {"weight"}


def test_products_by_name() -> None:
    model, images = example("vit")
    scheme = Scheme(attention=True, layer_bits={"blocks.0.attn.qk": (8, 6)}, float_layers=("blocks.1.attn.av",))
    quantize(model, scheme, images[:1])
    calibrate(model, images)
    bits = {(row.layer, row.kind): row.bits for row in layer_results(model) if row.layer.endswith((".qk", ".av"))}
    assert bits == {
        ("blocks.0.attn.qk", "query"): 6,
        ("blocks.0.attn.qk", "key"): 6,
        ("blocks.0.attn.av", "probabilities"): 4,
        ("blocks.0.attn.av", "value"): 4,
        ("blocks.1.attn.qk", "query"): 4,
        ("blocks.1.attn.qk", "key"): 4,
    }


def test_state_goes_to_a_model_that_is_built_anew() -> None:
    model, images = example("swin")
    fresh = quantize(copy.deepcopy(model), SCHEME, images[:1])
    quantize(model, SCHEME, images[:1])
    calibrate(model, images)
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(images), model(images))


BEIT: dict[str, Any] = {**SMALL, "depth": 1, "use_rel_pos_bias": True}
READING: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "a weight": (lambda: Beit(**BEIT), 28),
    "a weight, in windows": (lambda: SwinTransformerV2(**WINDOWS, depths=(1,), num_heads=(2,)), 32),
    "its type": (lambda: Xcit(**{**SMALL, "patch_size": 8, "img_size": 32, "depth": 1}), 32),
    "its kernel": (lambda: DaVit(in_chans=1, depths=(1,), embed_dims=(8,), num_heads=(2,), num_classes=5), 32),
    "nothing, but with a Linear of timm's": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(1024, 8), Linear(8, 5)), 32),
}


@pytest.mark.parametrize("name", READING)
def test_models_that_read_from_their_layers(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build, size = READING[name]
        model, images = build().eval(), torch.randn(3, 1, size, size)
    layers = {name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    with torch.no_grad():
        before = model(images)
        quantize(model, Scheme(weight_bits=8, activation_bits=32), images[:1])
        calibrate(model, images)
        assert {layer.name for layer in quantized_layers(model)} == layers
        # 8 bits of weights: LSQ's first step is a 15th to a 60th of a weight's size, and errors have both signs.
        torch.testing.assert_close(model(images), before, rtol=0, atol=0.1 * float(before.abs().max()))


class TestRefusals:
    def test_other_attention_by_name(self) -> None:
        model = VisionTransformer(**SMALL, attn_layer="diff")
        with pytest.raises(
            UsageError, match=r"timm's Attention.*blocks\.0\.attn \(timm\..*\.DiffAttention\), blocks\.1\.attn"
        ):
            quantize(model, SCHEME, torch.zeros(1, 1, 28, 28))

    def test_a_product_in_the_users_own_module(self) -> None:
        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.linear(x) @ x.transpose(-2, -1)

        with pytest.raises(UsageError, match=r"in Own these multiply matrices themselves: the model \(.*Own\)"):
            quantize(Own(), SCHEME, torch.zeros(1, 4, 4))

    def test_a_model_without_attention(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        with pytest.raises(UsageError, match="in Sequential there is none of these"):
            quantize(model, SCHEME, torch.zeros(1, 4))


def test_what_is_known_of_timm_is_what_is_installed() -> None:
    """Unfused classes repeat the forward pass of timm's; another version of it is another pass."""
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    attention = model.get_submodule("blocks.0.attn")
    assert type(attention) is Attention
    assert [type(module) for module in unfuse(model)] == [Product, Product]
    assert type(attention) is UnfusedAttention
