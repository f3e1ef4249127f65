"""Where quantizers sit in a model, on small models that are awkward in one way each."""

import copy
import io
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.narrow import lsq
from tune_qat.config import Scheme, TuneQatError, UsageError
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import (
    calibrate,
    constrain,
    constraints,
    quantize,
    quantized_layers,
    quantizers_of,
)
from tune_qat.quantizers.lsq import STEP_MIN

W4A4 = Scheme(weight_bits=4, activation_bits=4)


class Backwards(nn.Module):
    """Runs its layers in the opposite of the order in which they are defined."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 2)
        self.middle = nn.Linear(5, 5)
        self.first = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.middle(self.first(x).relu()).relu())


class Shared(nn.Module):
    """One layer under two names of one parent, and under one of another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.a = nn.Linear(4, 4)
        self.b = self.a
        self.block = nn.Sequential(self.a, nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.b(self.a(self.stem(x)).relu()).relu()))


class Returning(nn.Module):
    """Ends with a layer that it has used before, behind one that is used once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.twice = nn.Linear(4, 4)
        self.between = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.twice(self.between(self.twice(self.stem(x)).relu()).relu())


class WithNormAndDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(x)).relu()).mean((2, 3)))


class AuxiliaryBranch(nn.Module):
    """A head that runs while training only."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.auxiliary = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return self.auxiliary(y) if self.training else y


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def bits_of(model: nn.Module) -> Mapping[str, tuple[int | None, int | None]]:
    """Weight and input bits by layer, in execution order."""
    return {
        layer.name: tuple(q and q.bits for q in (layer.weight_quantizer, layer.input_quantizer))  # type: ignore[misc]
        for layer in quantized_layers(model)
    }


def weight_step(model: nn.Module) -> torch.Tensor:
    """Of the only layer."""
    (layer,) = quantized_layers(model)
    assert layer.weight_quantizer is not None
    return lsq(layer.weight_quantizer).step


class TestWhichBitsWhere:
    def test_first_and_last_are_so_in_execution_order(self) -> None:
        model = quantize(Backwards(), Scheme(weight_bits=2, activation_bits=3), batch(1, 3))
        assert bits_of(model) == {"first": (8, 8), "middle": (2, 3), "last": (8, 8)}
        assert list(bits_of(model)) == ["first", "middle", "last"]
        assert [layer.index for layer in quantized_layers(model)] == [0, 1, 2]

    def test_the_last_layer_is_the_one_that_gives_the_output(self) -> None:
        model = quantize(Returning(), W4A4, batch(1, 3))
        assert bits_of(model) == {"stem": (8, 8), "twice": (8, 8), "between": (4, 4)}

    @pytest.mark.parametrize(
        ("scheme", "ends", "middle"),
        [
            (Scheme(weight_bits=4, activation_bits=32), (8, None), (4, None)),
            (Scheme(weight_bits=32, activation_bits=4), (None, 8), (None, 4)),
            (Scheme(weight_bits=4, activation_bits=4, first_last_bits=32), (None, None), (4, 4)),
            (Scheme(weight_bits=4, activation_bits=4, first_last_bits=4), (4, 4), (4, 4)),
            (Scheme(weight_bits=4, activation_bits=4, layer_bits={"middle": (2, 32)}), (8, 8), (2, None)),
            (Scheme(weight_bits=4, layer_bits={"first": (3, 5), "last": (3, 5)}), (3, 5), (4, 4)),
            (Scheme(weight_bits=4, activation_bits=32, layer_bits={"middle": (4, 6)}), (8, None), (4, 6)),
        ],
        ids=[
            "weights only",
            "activations only",
            "ends in floating point",
            "ends as the rest",
            "a named layer",
            "named ends",
            "activations of one layer",
        ],
    )
    def test_parts_of_a_scheme(
        self, scheme: Scheme, ends: tuple[int | None, ...], middle: tuple[int | None, ...]
    ) -> None:
        model = quantize(Backwards(), scheme, batch(1, 3))
        assert bits_of(model) == {"first": ends, "middle": middle, "last": ends}
        calibrate(model, batch(6, 3))
        model(batch(6, 3)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_32_32_leaves_the_model_alone(self) -> None:
        model = Backwards()
        before = list(model.modules())
        assert quantize(model, Scheme.floating_point(), batch(1, 3)) is model
        assert list(model.modules()) == before
        calibrate(model, batch(6, 3))
        constrain(constraints(model))
        assert quantized_layers(model) == [] and layer_results(model) == ()

    def test_finding_the_order_leaves_no_hook_behind(self) -> None:
        model = quantize(Backwards(), W4A4, batch(1, 3))
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_a_layer_that_is_the_whole_model(self) -> None:
        model = quantize(nn.Linear(3, 2), W4A4, batch(1, 3))
        assert isinstance(model, QuantizedLayer)
        assert bits_of(model) == {"Linear": (8, 8)}

    def test_the_straight_through_variant_reaches_the_quantizers(self) -> None:
        # One weight a quarter of a step above the range: rounding first still lets its gradient pass.
        gradients = {}
        for ste in ("clip_then_round", "round_then_clip"):
            layer = nn.Linear(1, 1, bias=False)
            model = quantize(layer, Scheme(weight_bits=4, activation_bits=32, ste=ste), batch(1, 1))
            calibrate(model, torch.ones(1, 1))
            with torch.no_grad():
                weight_step(model).fill_(1.0)
                layer.weight.fill_(127.25)
            model(torch.ones(1, 1)).sum().backward()
            assert layer.weight.grad is not None
            gradients[ste] = layer.weight.grad.item()
        assert gradients == {"clip_then_round": 0.0, "round_then_clip": 1.0}


class TestSharing:
    def test_a_layer_in_several_places_stays_one(self) -> None:
        model = quantize(Shared(), W4A4, batch(1, 3))
        assert isinstance(model, Shared)
        assert model.a is model.b is model.block[0]
        assert isinstance(model.a, QuantizedLayer)
        assert bits_of(model) == {"stem": (8, 8), "a": (4, 4), "head": (8, 8)}
        calibrate(model, batch(6, 3))
        model(batch(6, 3)).sum().backward()
        steps = [name for name, _ in model.named_parameters() if name.endswith("step")]
        assert len(steps) == 2 * 3

    def test_no_layer_is_left_in_floating_point(self) -> None:
        model = quantize(Shared(), W4A4, batch(1, 3))
        wrapped = [layer.layer for layer in quantized_layers(model)]
        plain = [m for m in model.modules() if isinstance(m, nn.Linear)]
        assert {id(m) for m in plain} == {id(m) for m in wrapped}
        owners = [p for p in model.modules() for child in p._modules.values() if isinstance(child, nn.Linear)]
        assert all(isinstance(owner, QuantizedLayer) for owner in owners)

    def test_a_layer_repeated_in_a_sequence(self) -> None:
        layer = nn.Linear(3, 3)
        model = quantize(nn.Sequential(layer, nn.ReLU(), layer), W4A4, batch(1, 3))
        assert isinstance(model, nn.Sequential)
        assert isinstance(model[0], QuantizedLayer) and model[0] is model[2]


class TestRefusals:
    def test_a_branch_that_is_never_reached(self) -> None:
        with pytest.raises(UsageError, match=r"does not reach.*auxiliary"):
            quantize(AuxiliaryBranch(), W4A4, batch(1, 3))

    def test_calibrating_on_a_batch_that_misses_a_layer(self) -> None:
        class BySize(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.small, self.all = nn.Linear(3, 3), nn.Linear(3, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.all(self.small(x) if len(x) == 1 else x)

        model = quantize(BySize(), W4A4, batch(1, 3))
        with pytest.raises(UsageError, match=r"does not reach.*small"):
            calibrate(model, batch(6, 3))

    def test_a_model_without_layers(self) -> None:
        with pytest.raises(UsageError, match="ReLU has no convolution or linear layer"):
            quantize(nn.ReLU(), W4A4, batch(1, 3))

    def test_a_named_layer_that_is_absent(self) -> None:
        scheme = Scheme(layer_bits={"midle": (8, 8)})
        with pytest.raises(UsageError, match=r"'midle', .*Did you mean 'middle'\? Its layers: first, middle, last"):
            quantize(Backwards(), scheme, batch(1, 3))

    def test_bits_of_a_named_layer_that_the_method_does_not_define(self) -> None:
        with pytest.raises(UsageError, match=r"layer_bits of 'middle' \(activation\) is 9"):
            quantize(Backwards(), Scheme(layer_bits={"middle": (8, 9)}), batch(1, 3))

    @pytest.mark.parametrize("part", ["weight_bits", "activation_bits", "first_last_bits"])
    @pytest.mark.parametrize("bits", [0, 1, 9, 31])
    def test_bits_that_lsq_does_not_define(self, part: str, bits: int) -> None:
        values: dict[str, Any] = {"weight_bits": 4, "activation_bits": 4, part: bits}
        with pytest.raises(UsageError, match=rf"2 to 8 bits of (weights|activations), or 32.*{part} is {bits}"):
            quantize(Backwards(), Scheme(**values), batch(1, 3))

    def test_layers_that_cannot_be_quantized_leave_the_model_alone(self) -> None:
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 1, 3)
        )
        with pytest.raises(UsageError, match="'1'.*reflect"):
            quantize(model, W4A4, batch(1, 1, 8, 8))
        assert all(type(layer) is nn.Conv2d for layer in model)

    def test_use_before_calibration(self) -> None:
        model = quantize(Backwards(), W4A4, batch(1, 3))
        with pytest.raises(TuneQatError, match="'first'.*calibrated"):
            model(batch(6, 3))

    def test_a_batch_that_is_not_finite(self) -> None:
        model = quantize(Backwards(), W4A4, batch(1, 3))
        with pytest.raises(TuneQatError, match="'first'.*activation.*not finite"):
            calibrate(model, torch.full((2, 3), math.nan))


class TestCalibration:
    def test_norms_that_have_seen_nothing_take_the_batch(self) -> None:
        # Weights of a hundredth: with its running statistics, (0, 1), the norm would hand on values that small.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        with torch.no_grad():
            model[0].weight.mul_(0.01)  # type: ignore[operator]
        sizes = []
        for seen_before in (False, True):
            quantized = quantize(copy.deepcopy(model), W4A4, batch(1, 3))
            if seen_before:
                quantized[1].num_batches_tracked.fill_(1)  # type: ignore[index]
            calibrate(quantized, batch(6, 3))
            sizes.append(quantizers_of(quantized)[3].step_init * 127**0.5 / 2)  # LSQ's start: the mean size
        # Values of mean 0 and variance 1 have a mean size of 0.8, six of them somewhere around it.
        assert 0.5 < sizes[0] < 1.1
        assert sizes[1] < 0.3

    def test_disturbs_neither_norms_nor_modes_nor_random_state(self) -> None:
        model = WithNormAndDropout()
        model.norm.eval()  # a mode of its own, as a frozen norm has
        model = quantize(model, W4A4, batch(1, 1, 8, 8))  # type: ignore[assignment]
        modes = {name: module.training for name, module in model.named_modules()}
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        random = torch.get_rng_state()
        calibrate(model, batch(4, 1, 8, 8))
        assert modes == {name: module.training for name, module in model.named_modules()}
        assert modes["drop"] and not modes["norm"]
        assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
        assert torch.equal(random, torch.get_rng_state())

    def test_sees_inputs_that_are_quantized_upstream(self) -> None:
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), batch(6, 3)
        quantize(model, Scheme(weight_bits=2, activation_bits=2, first_last_bits=2), x[:1])
        calibrate(model, x)
        first, second = quantized_layers(model)
        assert second.input_quantizer is not None
        expected = 2 * first(x).abs().mean().item()  # Q_P is 1
        assert lsq(second.input_quantizer).step.item() == pytest.approx(expected, rel=1e-6)  # float32

    def test_again_keeps_the_parameters_that_an_optimizer_holds(self) -> None:
        model = quantize(Backwards(), W4A4, batch(1, 3))
        calibrate(model, batch(6, 3))
        held = dict(model.named_parameters())
        before = held["first.input_quantizer.step"].item()
        calibrate(model, 2 * batch(6, 3))
        assert all(parameter is held[name] for name, parameter in model.named_parameters())
        after = held["first.input_quantizer.step"].item()
        assert after == pytest.approx(2 * before, rel=1e-6)  # float32

    def test_a_step_gradient_does_not_depend_on_the_batch_size(self) -> None:
        torch.manual_seed(0)
        model = quantize(Backwards(), W4A4, batch(1, 3)).double()
        x = batch(6, 3).double()
        calibrate(model, x)
        gradients = []
        for repeats in (1, 5):
            model.zero_grad()
            model(x.repeat(repeats, 1)).square().mean().backward()
            gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        assert any(name.endswith("input_quantizer.step") for name in gradients[0])
        for name in gradients[0]:
            # Double precision: the same mean over the same samples.
            torch.testing.assert_close(gradients[1][name], gradients[0][name], rtol=1e-10, atol=1e-14)


def test_constrain_reaches_every_quantizer() -> None:
    model = quantize(Backwards(), W4A4, batch(1, 3))
    calibrate(model, batch(6, 3))
    steps = [p for name, p in model.named_parameters() if name.endswith("step")]
    with torch.no_grad():
        for step in steps:
            step.fill_(-1.0)
    constrain(constraints(model))
    assert len(steps) == 6
    assert all(step.item() == pytest.approx(STEP_MIN, rel=1e-6) for step in steps)  # float32


def test_state_goes_through_a_file_of_plain_data() -> None:
    torch.manual_seed(0)
    model, x = quantize(WithNormAndDropout(), W4A4, batch(1, 1, 8, 8)), batch(4, 1, 8, 8)
    calibrate(model, x)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = quantize(WithNormAndDropout(), W4A4, batch(1, 1, 8, 8))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again.eval()(x), model.eval()(x))
    assert layer_results(again) == layer_results(model)


class TestLayerResults:
    def test_say_what_the_quantizers_are(self) -> None:
        torch.manual_seed(0)
        model = quantize(Backwards(), W4A4, batch(1, 3))
        calibrate(model, batch(6, 3))
        rows = layer_results(model)
        assert [(r.layer, r.layer_index, r.kind, r.bits, r.signed, r.exact, r.numel) for r in rows] == [
            ("first", 0, "weight", 8, True, True, 15),
            ("first", 0, "activation", 8, True, True, 3),
            ("middle", 1, "weight", 4, True, True, 25),
            ("middle", 1, "activation", 4, False, True, 5),
            ("last", 2, "weight", 8, True, True, 10),
            ("last", 2, "activation", 8, False, True, 5),
        ]
        steps = [dict(model.named_parameters())[f"{r.layer}.{_part(r.kind)}.step"].item() for r in rows]
        assert [r.step_size for r in rows] == steps == [r.step_size_init for r in rows]

    def test_weight_statistics(self) -> None:
        layer = nn.Linear(4, 1, bias=False)
        model = quantize(layer, Scheme(weight_bits=4, activation_bits=32, first_last_bits=3), batch(1, 4))
        calibrate(model, batch(6, 4))
        with torch.no_grad():
            weight_step(model).fill_(0.5)
            layer.weight.copy_(torch.tensor([[-2.25, -1.75, 1.5, 1.75]]))
        (row,) = layer_results(model)
        # The grid is -2 ... 1.5: one value half a step below, one half a step above; the errors are 1/4, 1/4 (a tie,
        # to the even code), 0 and 1/4. All exact in binary.
        assert (row.clip_fraction_low, row.clip_fraction_high) == (0.25, 0.25)
        assert row.quantization_mse == 3 * 2**-4 / 4
        assert row.step_size == 0.5 != row.step_size_init


def _part(kind: str) -> str:
    return "weight_quantizer" if kind == "weight" else "input_quantizer"
