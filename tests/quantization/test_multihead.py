"""Torch's multi-head attention from linear layers: the same outputs, gradients and state, and no fast path."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tune_qat.config import Scheme, UsageError
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import calibrate, quantize, quantized_layers
from tune_qat.quantization.multihead import Multihead, rebuilt

SIZE, HEADS, BATCH, QUERIES, KEYS = 8, 2, 3, 4, 5


def attention(**options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    found = nn.MultiheadAttention(SIZE, HEADS, **options).double()
    if found.in_proj_bias is not None:  # torch begins with zeros
        nn.init.normal_(found.in_proj_bias)
        nn.init.normal_(found.out_proj.bias)
    return found


def masks(kind: str) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    hidden = torch.rand(QUERIES, KEYS, generator=draw) < 0.4
    hidden[:, 0] = False  # no query without a key
    padding = torch.zeros(BATCH, KEYS, dtype=torch.bool)
    padding[1, -2:] = True
    of_heads = torch.randn(BATCH * HEADS, QUERIES, KEYS, generator=draw, dtype=torch.float64)
    causal = nn.Transformer.generate_square_subsequent_mask(KEYS, dtype=torch.float64)[:QUERIES]
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "boolean": {"attn_mask": hidden},
        "floating point": {"attn_mask": torch.randn(QUERIES, KEYS, generator=draw, dtype=torch.float64)},
        "of each head": {"attn_mask": of_heads},
        "padding": {"key_padding_mask": padding},
        "both": {"attn_mask": hidden, "key_padding_mask": padding},
        "causal": {"attn_mask": causal, "is_causal": True},
        "causal and padding": {"attn_mask": causal, "key_padding_mask": padding.double() * -3, "is_causal": True},
    }
    return kinds[kind]


KINDS = ("none", "boolean", "floating point", "of each head", "padding", "both", "causal", "causal and padding")


def tokens(batch_first: bool) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    shapes = [(BATCH, QUERIES, SIZE), (BATCH, KEYS, SIZE), (BATCH, KEYS, SIZE)]
    found = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    return [(one if batch_first else one.transpose(0, 1)).detach().requires_grad_() for one in found]


def check(own: nn.MultiheadAttention, inputs: list[torch.Tensor], options: dict[str, Any]) -> None:
    other = Multihead(own)
    outputs, gradients = [], []
    for module in (own, other):
        output, weights = module(*inputs, **options)
        outputs.append((output, weights))
        loss = output.square().sum() + (0 if weights is None else weights.square().sum())
        by_inputs = torch.autograd.grad(loss, inputs, retain_graph=True)
        loss.backward(inputs=list(module.parameters()))
        gradients.append(by_inputs)
    (expected, of_own), (found, of_other) = outputs
    close(found, expected)
    assert (of_own is None) == (of_other is None)
    if of_own is not None:
        close(of_other, of_own)
    for got, wished in zip(*reversed(gradients), strict=True):
        close(got, wished)
    of_parts = [getattr(other, part).weight.grad for part in ("q_proj", "k_proj", "v_proj")]
    close(torch.cat(of_parts), own.in_proj_weight.grad)


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)  # double precision, sums of some dozens


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_weights_and_gradients_are_torchs(kind: str, need_weights: bool) -> None:
    for batch_first in (True, False):
        options = {**masks(kind), "need_weights": need_weights}
        check(attention(batch_first=batch_first), tokens(batch_first), options)


@pytest.mark.parametrize("options", [{"need_weights": False}, {"average_attn_weights": False}, {}])
def test_without_bias_and_without_batch(options: dict[str, Any]) -> None:
    check(attention(bias=False), tokens(False), options)
    check(attention(), [one[:, 0].detach().requires_grad_() for one in tokens(False)], options)


def test_dropout_is_of_the_probabilities_and_of_training_alone() -> None:
    own = attention(dropout=0.5, batch_first=True)
    other = Multihead(own)
    inputs = tokens(True)
    outputs = []
    for module in (own, other):
        torch.manual_seed(3)
        outputs.append(module(*inputs)[0])
    close(outputs[1], outputs[0])
    assert not torch.equal(other(*inputs)[0], other(*inputs)[0])
    close(other.eval()(*inputs)[0], own.eval()(*inputs)[0])


class TestState:
    def test_has_torchs_names_until_it_is_quantized(self) -> None:
        own = attention()
        other = Multihead(own)
        assert other.state_dict().keys() == own.state_dict().keys()
        assert all(torch.equal(value, own.state_dict()[name]) for name, value in other.state_dict().items())
        fresh = Multihead(nn.MultiheadAttention(SIZE, HEADS).double())
        fresh.load_state_dict(own.state_dict())
        torch.nn.MultiheadAttention(SIZE, HEADS).double().load_state_dict(fresh.state_dict())
        close(copy.deepcopy(fresh)(*tokens(False))[0], own(*tokens(False))[0])

    def test_of_a_quantized_one_goes_to_another(self) -> None:
        models = [quantize(encoder(), Scheme(), batch()[:1]) for _ in range(2)]
        calibrate(models[0], batch())
        models[1].load_state_dict(models[0].state_dict())
        assert torch.equal(models[0].eval()(batch()), models[1].eval()(batch()))

    def test_rebuilding_draws_nothing_and_shares_nothing(self) -> None:
        own = attention()
        before, state = torch.get_rng_state(), copy.deepcopy(own.state_dict())
        other = rebuilt(own)
        assert torch.equal(before, torch.get_rng_state())
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert all(torch.equal(value, own.state_dict()[name]) for name, value in state.items())


class Encoder(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(SIZE, HEADS, 12, batch_first=True, **options)
        self.stem, self.encoder, self.head = nn.Linear(3, SIZE), nn.TransformerEncoder(layer, 2), nn.Linear(SIZE, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        padding = (values == 0).all(-1)
        found: torch.Tensor = self.head(self.encoder(self.stem(values), src_key_padding_mask=padding))
        return found


def encoder(**options: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(**options)


def batch() -> torch.Tensor:
    values = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(4))
    values[0, 3:] = 0
    return values


class TestEncoder:
    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own fast path
    def test_its_fast_path_is_off(self) -> None:
        """In evaluation torch reads the weights of all layers at once, and calls none of them."""
        model = encoder().eval()
        with torch.no_grad():
            fast = model(batch())
            found = rebuilt(model)(batch())
        real = (batch() != 0).any(-1)  # behind padding the fast path gives zeros
        torch.testing.assert_close(found[real], fast[real], rtol=1e-5, atol=1e-6)  # float32, two layers of order 1

        quantize(model, Scheme(weight_bits=2, activation_bits=2), batch()[:1])
        calibrate(model, batch())
        called: list[str] = []
        for layer in quantized_layers(model):
            layer.register_forward_pre_hook(lambda layer, _: called.append(layer.name))
        with torch.no_grad():
            output = model(batch())
        assert called == [layer.name for layer in quantized_layers(model)] and len(called) == 2 * 6 + 2
        assert not torch.allclose(output, fast, atol=0.01)

    def test_layers_are_named_and_one_can_be_left(self) -> None:
        left = ("encoder.layers.0.self_attn.out_proj",)
        model = quantize(encoder(), Scheme(attention=True, float_layers=left), batch()[:1])
        calibrate(model, batch())
        names = [
            f"encoder.layers.1.self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "qk", "av", "out_proj")
        ]
        found = dict.fromkeys(row.layer for row in layer_results(model))
        assert [name for name in found if ".1.self_attn" in name] == names
        assert left[0] not in found and type(model.encoder.layers[0].self_attn.out_proj) is nn.Linear  # type: ignore[union-attr, index]
        assert isinstance(model.encoder.layers[1].self_attn.out_proj, QuantizedLayer)  # type: ignore[union-attr, index]
        model.train()(batch()).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_the_control_is_rebuilt_too(self) -> None:
        model = quantize(encoder(), Scheme.floating_point(), batch()[:1])
        assert isinstance(model.encoder.layers[0].self_attn, Multihead)  # type: ignore[union-attr, index]
        encoder().load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("options", "named"),
    [({"add_bias_kv": True}, "add_bias_kv"), ({"add_zero_attn": True}, "add_zero_attn"), ({"kdim": 4}, "kdim or vdim")],
)
def test_options_that_linear_layers_do_not_have(options: dict[str, Any], named: str) -> None:
    model = nn.ModuleDict({"own": nn.MultiheadAttention(SIZE, HEADS, **options)})
    with pytest.raises(UsageError, match=rf"'own' is a MultiheadAttention with {named}, which"):
        rebuilt(model)
