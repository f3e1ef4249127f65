"""What every model of the table has to keep. A new one adds a subclass to `test_models.py`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from tune_qat import models
from tune_qat.config import Scheme, UsageError
from tune_qat.data.base import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.parameter_groups import parameter_groups
from tune_qat.quantize import (
    calibrate,
    constrain,
    constraints,
    layer_results,
    quantize,
    quantized_layers,
)
from tune_qat.quantized_layer import QuantizedLayer

BATCH = 2
FLOAT = Scheme.floating_point()
W4A4 = Scheme(weight_bits=4, activation_bits=4)
W2A2 = Scheme(weight_bits=2, activation_bits=2)
every_scheme = pytest.mark.parametrize("scheme", [FLOAT, W4A4, W2A2], ids=lambda scheme: scheme.label)
low_bits = pytest.mark.parametrize("scheme", [W4A4, W2A2], ids=lambda scheme: scheme.label)


def images(channels: int, size: int, classes: int) -> ModelInput:
    return ModelInput(task=CLASSIFICATION, channels=channels, height=size, width=size, classes=classes, scale=None)


def pairs(channels: int, scale: int) -> ModelInput:
    return ModelInput(task=SUPER_RESOLUTION, channels=channels, height=None, width=None, classes=None, scale=scale)


class ModelConformance:
    """Subclasses name the model, its smallest input, its published sizes and what does not fit it."""

    name: ClassVar[str]
    smallest: ClassVar[ModelInput]
    parameters: ClassVar[list[tuple[ModelInput, int]]]
    """Inputs, and the number of parameters that the literature or the library gives for them."""
    layers: ClassVar[list[str]]
    """First and last layer in execution order, by name."""
    does_not_fit: ClassVar[list[tuple[ModelInput, str]]]
    """Inputs, and what the error says."""

    def build(self, seed: int = 0) -> nn.Module:
        return models.build(self.name, self.smallest, seed)

    def batch(self, count: int = BATCH, seed: int = 0) -> torch.Tensor:
        size = (self.smallest.height or 9, self.smallest.width or 7)
        shape = (count, self.smallest.channels, *size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def quantized(self, scheme: Scheme) -> nn.Module:
        model = quantize(self.build(), scheme, self.batch(1))
        calibrate(model, self.batch())
        return model

    def test_describes_itself(self) -> None:
        spec = models.get_spec(self.name)
        assert spec.name == self.name and spec.task == self.smallest.task and spec.summary and spec.source

    def test_has_the_published_size(self) -> None:
        for model_input, expected in self.parameters:
            model = models.build(self.name, model_input, 0)
            assert sum(parameter.numel() for parameter in model.parameters()) == expected

    @every_scheme
    def test_output_has_the_shape_of_the_task(self, scheme: Scheme) -> None:
        given = self.smallest
        output = self.quantized(scheme).eval()(self.batch())
        if given.task == CLASSIFICATION:
            assert output.shape == (BATCH, given.classes)
        else:
            scale = given.scale or 0
            assert output.shape == (BATCH, given.channels, 9 * scale, 7 * scale)

    def test_weights_follow_from_the_seed_alone(self) -> None:
        torch.manual_seed(11)
        first, random = self.build(3).state_dict(), torch.get_rng_state()
        torch.manual_seed(11)
        assert torch.equal(random, torch.get_rng_state()), "building a model moved the global generator"
        torch.manual_seed(12)
        again, other = self.build(3).state_dict(), self.build(4).state_dict()
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)

    def test_refuses_input_that_does_not_fit(self) -> None:
        assert self.does_not_fit
        for model_input, message in self.does_not_fit:
            with pytest.raises(UsageError, match=message):
                models.build(self.name, model_input, 0)

    @low_bits
    def test_both_operands_of_every_layer_are_integers_in_range(
        self, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = self.quantized(scheme)
        layers = quantized_layers(model)
        seen = _Operands(monkeypatch, layers)
        with torch.no_grad():
            model.eval()(self.batch(seed=1))
        assert [layer.name for layer, _, _ in seen.calls] == [layer.name for layer in layers]
        assert [layers[0].name, layers[-1].name] == self.layers
        for layer, inputs, weight in seen.calls:
            bits = 8 if layer in (layers[0], layers[-1]) else scheme.weight_bits
            _assert_codes(weight, bits, signed=True, where=f"weight of {layer.name}")
            quantizer = layer.input_quantizer
            assert quantizer is not None
            _assert_codes(inputs, bits, signed=quantizer.signed, where=f"input of {layer.name}")
            assert len(weight.unique()) > 1 and len(inputs.unique()) > 1, f"nothing gets through {layer.name}"

    def test_signedness_is_that_of_the_inputs(self) -> None:
        model = quantize(self.build(), W4A4, self.batch(1))
        lowest: dict[str, float] = {}

        def see(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            lowest[layer.name] = args[0].min().item()  # type: ignore[index]

        for layer in quantized_layers(model):
            layer.register_forward_pre_hook(see)
        calibrate(model, self.batch())
        for layer in quantized_layers(model):
            assert layer.input_quantizer is not None
            assert layer.input_quantizer.signed == (lowest[layer.name] < -1e-6)

    @low_bits
    def test_every_parameter_gets_a_finite_gradient(self, scheme: Scheme) -> None:
        model = self.quantized(scheme).train()
        output = model(self.batch(seed=1))
        assert output.isfinite().all()
        output.square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.isfinite().all(), f"{name} has a gradient that is not finite"

    @low_bits
    def test_forward_does_not_depend_on_threads_or_batch_mates(self, scheme: Scheme) -> None:
        model = self.quantized(scheme).eval()
        assert all(layer.exact for layer in quantized_layers(model))
        x = self.batch(4, seed=1)
        with torch.no_grad():
            alone = model(x)
            torch.set_num_threads(2)
            try:
                assert torch.equal(model(x), alone)
            finally:
                torch.set_num_threads(1)
            assert torch.equal(torch.cat([model(one[None]) for one in x]), alone)

    @low_bits
    def test_calibrating_leaves_buffers_and_weights_alone(self, scheme: Scheme) -> None:
        model = quantize(self.build().train(), scheme, self.batch(1))
        plain = self.build().state_dict()
        calibrate(model, self.batch())
        state = {name.replace(".layer.", "."): value for name, value in model.state_dict().items()}
        assert all(torch.equal(state[name], value) for name, value in plain.items())
        assert all(module.training for module in model.modules())

    @every_scheme
    def test_parameters_are_in_exactly_one_group(self, scheme: Scheme) -> None:
        model = self.quantized(scheme)
        groups = parameter_groups(model)
        assert sorted(map(id, groups.all)) == sorted(id(p) for p in model.parameters() if p.requires_grad)
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        assert sorted(map(id, groups.weights)) == sorted(map(id, matrices))
        assert len(groups.quantizer) == (0 if scheme.is_float else 2 * len(groups.weights))

    @every_scheme
    def test_last_weight_is_that_of_the_last_layer_to_run(self, scheme: Scheme) -> None:
        groups = parameter_groups(self.quantized(scheme))
        last = self.build().get_submodule(self.layers[-1])
        assert groups.last_weight is groups.weights[-1]
        assert groups.last_weight is not None and torch.equal(groups.last_weight, last.weight)  # type: ignore[arg-type]

    @low_bits
    def test_the_record_has_a_row_for_every_quantizer(self, scheme: Scheme) -> None:
        model = self.quantized(scheme)
        constrain(constraints(model))
        rows = layer_results(model)
        layers = quantized_layers(model)
        assert [(row.layer_index, row.kind) for row in rows] == [
            (index, kind) for index in range(len(layers)) for kind in ("weight", "activation")
        ]
        assert all(row.step_size == row.step_size_init > 0 for row in rows)


class _Operands:
    """What `conv2d` and `linear` are called with, and by which quantized layer; a call by any other fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, layers: list[QuantizedLayer]) -> None:
        self.calls: list[tuple[QuantizedLayer, torch.Tensor, torch.Tensor]] = []
        self._running: QuantizedLayer | None = None
        for name in ("conv2d", "linear"):
            monkeypatch.setattr(functional, name, self._watch(getattr(functional, name)))
        for layer in layers:
            monkeypatch.setattr(layer, "forward", self._inside(layer))

    def _inside(self, layer: QuantizedLayer) -> Callable[[torch.Tensor], torch.Tensor]:
        forward = layer.forward

        def run(value: torch.Tensor) -> torch.Tensor:
            with self._as(layer):
                return forward(value)

        return run

    @contextmanager
    def _as(self, layer: QuantizedLayer) -> Iterator[None]:
        self._running = layer
        yield
        self._running = None

    def _watch(self, operation: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def watched(inputs: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
            assert self._running is not None, "a layer runs in floating point"
            self.calls.append((self._running, inputs, weight))
            return operation(inputs, weight, *rest)

        return watched


def _assert_codes(codes: torch.Tensor, bits: int, *, signed: bool, where: str) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    assert torch.equal(codes, codes.round()), f"{where} is not integer"
    assert low <= codes.min() and codes.max() <= high, f"{where} is outside {low} ... {high}"
