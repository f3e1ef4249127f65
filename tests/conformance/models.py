"""What every model of the table has to keep. A new one adds a subclass to `test_models.py`."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat import models
from tune_qat.config import Scheme, UsageError
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.quantization.layer import EXACT_LIMIT, QuantizedLayer
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import calibrate, constrain, constraints, quantize, quantized_layers
from tune_qat.quantization.order import LAYERS
from tune_qat.training.parameter_groups import parameter_groups

BATCH = 2
W4A4 = Scheme(weight_bits=4, activation_bits=4)
W2A2 = Scheme(weight_bits=2, activation_bits=2)


def images(channels: int, size: int, classes: int) -> ModelInput:
    return ModelInput(task=CLASSIFICATION, channels=channels, height=size, width=size, classes=classes, scale=None)


def pairs(channels: int, scale: int) -> ModelInput:
    return ModelInput(task=SUPER_RESOLUTION, channels=channels, height=None, width=None, classes=None, scale=scale)


class ModelSizeConformance:
    """Subclasses name the model, its smallest input, its published sizes and what does not fit it.

    All that is needed of a network whose code is that of another one, more often or wider. Without memory for weights.
    """

    name: ClassVar[str]
    smallest: ClassVar[ModelInput]
    parameters: ClassVar[list[tuple[ModelInput, int]]]
    """Inputs, and the number of parameters that the literature or the library gives for them."""
    layers: ClassVar[list[str]]
    """First and last layer in execution order, by name."""
    gates: ClassVar[int] = 0
    """Squeeze-excite gates, of two layers each."""
    does_not_fit: ClassVar[list[tuple[ModelInput, str]]] = []
    """Inputs, and what the error says; a model that takes any image from some size on needs none."""

    @classmethod
    def batch(cls, count: int = BATCH, seed: int = 0) -> torch.Tensor:
        size = (cls.smallest.height or 9, cls.smallest.width or 7)
        shape = (count, cls.smallest.channels, *size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    @classmethod
    def output_shape(cls, count: int) -> tuple[int | None, ...]:
        given, scale = cls.smallest, cls.smallest.scale or 0
        classes = given.task == CLASSIFICATION
        return (count, given.classes) if classes else (count, given.channels, 9 * scale, 7 * scale)

    def test_describes_itself(self) -> None:
        spec = models.get_spec(self.name)
        assert spec.name == self.name and spec.task == self.smallest.task and spec.summary and spec.source

    def test_has_the_published_size(self) -> None:
        for model_input, expected in self.parameters:
            with torch.device("meta"):
                model = models.build(self.name, model_input, 0)
            assert sum(parameter.numel() for parameter in model.parameters()) == expected
        summary = models.get_spec(self.name).summary
        assert "parameters" not in summary or f"({self.parameters[0][1]:,} parameters" in summary

    def test_runs_from_its_first_layer_to_its_last(self) -> None:
        with torch.device("meta"):
            model = models.build(self.name, self.smallest, 0)
            example = self.batch(1).to("meta")
            calls: list[str] = []
            for name, module in model.named_modules():
                if isinstance(module, LAYERS):
                    module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
            output = model.eval()(example)
        assert [calls[0], calls[-1]] == self.layers
        assert output.shape == self.output_shape(1)

    def test_smaller_images_are_enlarged(self) -> None:
        smallest = models.get_spec(self.name).smallest
        if not smallest:
            pytest.skip("takes any size, or some sizes alone")
        small = replace(self.smallest, height=smallest - 1)
        with torch.device("meta"):  # neither weights nor a pass are needed to see what the network is given
            model = models.build(self.name, small, 0).eval()
            seen: list[torch.Size] = []
            model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))  # type: ignore[union-attr]
            output = model(torch.zeros((2, small.channels, smallest - 1, smallest)))
        assert seen == [(2, small.channels, smallest, smallest)] and output.shape == (2, small.classes)

    def test_refuses_input_that_does_not_fit(self) -> None:
        given, smallest = self.smallest, models.get_spec(self.name).smallest
        other = pairs(given.channels, 3) if given.task == CLASSIFICATION else images(given.channels, 28, 10)
        wrong = [(other, f"'{self.name}' is made for .*, but the input is for"), *self.does_not_fit]
        if smallest:
            assert given.height == given.width == smallest
        for model_input, message in wrong:
            with pytest.raises(UsageError, match=message):
                models.build(self.name, model_input, 0)


class ModelConformance(ModelSizeConformance):
    """A class builds its model once, and quantizes it once for each scheme; what a test does to it is undone."""

    large: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    """Whether all of its tests are left out with -m 'not slow': they take more than four seconds, another of its kind
    is left in, and its layers are those of that one, more often or wider."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # What a class builds is built by one process; networks that take gigabytes by one for all of them.
        group = "large models" if cls.large else f"model {cls.__name__}"
        marks = [pytest.mark.xdist_group(group), *[pytest.mark.slow] * cls.slow]
        cls.pytestmark = marks  # type: ignore[attr-defined]

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls) -> nn.Module:
        """The floating-point model; not to be changed."""
        return models.build(cls.name, cls.smallest, 0)

    @pytest.fixture(scope="class", params=[W4A4], ids=lambda scheme: scheme.label)
    @classmethod
    def scheme(cls, request: pytest.FixtureRequest) -> Scheme:
        scheme: Scheme = request.param
        return scheme

    @pytest.fixture(scope="class")
    @classmethod
    def quantized(cls, built: nn.Module, scheme: Scheme) -> "_Quantized":
        return _Quantized(quantize(copy.deepcopy(built).train(), scheme, cls.batch(1)), cls.batch())

    @pytest.fixture
    def model(self, quantized: "_Quantized") -> Iterator[nn.Module]:
        """Quantized and calibrated, in training mode."""
        yield quantized.model
        quantized.restore()

    def test_output_has_the_shape_of_the_task(self, built: nn.Module, model: nn.Module) -> None:
        for network in (built, model):
            with torch.no_grad():
                output = network.eval()(self.batch())
            assert output.shape == self.output_shape(BATCH)

    def test_weights_follow_from_the_seed_alone(self, built: nn.Module) -> None:
        torch.manual_seed(11)
        random = torch.get_rng_state()
        again = models.build(self.name, self.smallest, 0).state_dict()
        assert torch.equal(random, torch.get_rng_state()), "building a model moved the global generator"
        first = built.state_dict()
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
        other = models.build(self.name, self.smallest, 1).state_dict()
        assert any(not torch.equal(first[name], other[name]) for name in first)

    def test_both_operands_of_every_layer_are_integers_in_range(
        self, model: nn.Module, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layers = quantized_layers(model)
        assert [layers[0].name, layers[-1].name] == self.layers
        gates = _gates(model)
        assert len(gates) == 2 * self.gates
        first_last = {*self.layers, *gates}
        seen = _Operands(monkeypatch, layers)
        with torch.no_grad():
            model.eval()(self.batch(seed=1))
        assert [layer.name for layer, _, _ in seen.calls] == [layer.name for layer in layers]
        for layer, inputs, weight in seen.calls:
            bits = 8 if layer.name in first_last else scheme.weight_bits
            _assert_codes(weight, bits, signed=True, where=f"weight of {layer.name}")
            quantizer = layer.input_quantizer
            assert quantizer is not None and layer.weight_quantizer is not None
            assert quantizer.bits == layer.weight_quantizer.bits == bits, layer.name
            _assert_codes(inputs, bits, signed=quantizer.signed, where=f"input of {layer.name}")
            assert weight.min() < weight.max() and inputs.min() < inputs.max(), f"nothing gets through {layer.name}"

    def test_signedness_is_that_of_the_inputs(self, quantized: "_Quantized") -> None:
        for layer in quantized_layers(quantized.model):
            assert layer.input_quantizer is not None
            assert layer.input_quantizer.signed == (quantized.lowest[layer.name] < -1e-6)

    def test_every_parameter_gets_a_finite_gradient(self, model: nn.Module) -> None:
        output = model(self.batch(seed=1))
        assert output.isfinite().all()
        output.square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.isfinite().all(), f"{name} has a gradient that is not finite"

    def test_forward_does_not_depend_on_threads_or_batch_mates(self, model: nn.Module) -> None:
        layers = quantized_layers(model.eval())
        assert [layer.exact for layer in layers] == [_is_exact(layer) for layer in layers]
        # Behind a sum that is not exact nothing is promised: its last digit may be another, and so a code.
        promised = list(takewhile(lambda layer: layer.exact, layers))
        assert promised and all(layer.name in {*self.layers, *_gates(model)} for layer in layers if not layer.exact)
        x = self.batch(2, seed=1)
        together = _outputs(model, promised, x)
        torch.set_num_threads(2)
        try:
            alone = _outputs(model, promised, x[1:])
        finally:
            torch.set_num_threads(1)
        for one, expected in zip(alone, together, strict=True):
            assert torch.equal(one, expected[1:])

    def test_calibrating_leaves_buffers_and_weights_alone(self, built: nn.Module, quantized: "_Quantized") -> None:
        state = {name.replace(".layer.", "."): value for name, value in quantized.calibrated_state.items()}
        assert all(torch.equal(state[name], value) for name, value in built.state_dict().items())
        assert quantized.left_training

    def test_parameters_are_in_exactly_one_group(self, built: nn.Module, model: nn.Module) -> None:
        for network in (built, model):
            groups = parameter_groups(network)
            assert sorted(map(id, groups.all)) == sorted(id(p) for p in network.parameters() if p.requires_grad)
            matrices = [p for p in network.parameters() if p.dim() >= 2]
            assert sorted(map(id, groups.weights)) == sorted(map(id, matrices))
            assert len(groups.quantizer) == (0 if network is built else 2 * len(groups.weights))

    def test_last_weight_is_that_of_the_last_layer_to_run(self, built: nn.Module, model: nn.Module) -> None:
        for network, name in ((built, self.layers[-1]), (model, f"{self.layers[-1]}.layer")):
            groups = parameter_groups(network)
            assert groups.last_weight is groups.weights[-1] is network.get_submodule(name).weight

    def test_the_record_has_a_row_for_every_quantizer(self, model: nn.Module) -> None:
        constrain(constraints(model))
        rows = layer_results(model)
        layers = quantized_layers(model)
        assert [(row.layer_index, row.kind) for row in rows] == [
            (index, kind) for index in range(len(layers)) for kind in ("weight", "activation")
        ]
        assert all(row.step_size == row.step_size_init > 0 for row in rows)


class ModelAtTwoBitsConformance(ModelConformance):
    """At two bits as well: the same code in another range of integers, which one model of each kind is enough for."""

    @pytest.fixture(scope="class", params=[W4A4, W2A2], ids=lambda scheme: scheme.label)
    @classmethod
    def scheme(cls, request: pytest.FixtureRequest) -> Scheme:
        scheme: Scheme = request.param
        return scheme


class LargeModelConformance(ModelConformance):
    """Of networks that take seconds to build or to run, or gigabytes."""

    large = True


class _Quantized:
    """A calibrated model, and what its calibration saw."""

    def __init__(self, model: nn.Module, batch: torch.Tensor) -> None:
        self.model = model
        self.lowest: dict[str, float] = {}
        """The lowest input of each layer."""

        def see(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            self.lowest[layer.name] = args[0].min().item()  # type: ignore[index]

        hooks = [layer.register_forward_pre_hook(see) for layer in quantized_layers(model)]
        calibrate(model, batch)
        for hook in hooks:
            hook.remove()
        self.left_training = all(module.training for module in model.modules())
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self.calibrated_state = model.state_dict() | buffers
        """Parameters are the model's own; no test changes one."""
        _settle(model, batch)
        self._buffers = [buffer.clone() for buffer in model.buffers()]

    def restore(self) -> None:
        """As it was for the first test."""
        self.model.train().zero_grad(set_to_none=True)
        for buffer, before in zip(self.model.buffers(), self._buffers, strict=True):
            buffer.copy_(before)


@torch.no_grad()
def _settle(model: nn.Module, batch: torch.Tensor) -> None:
    """Norms remember this batch: with what they start from, next to nothing gets through in evaluation."""
    norms = [module for module in model.eval().modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train()


def _gates(model: nn.Module) -> set[str]:
    """Names of the layers in squeeze-excite gates, by what torchvision and timm call those."""
    return {
        layer.name
        for block in model.modules()
        if type(block).__name__ in ("SqueezeExcitation", "SqueezeExcite")
        for layer in quantized_layers(block)
    }


def _is_exact(layer: QuantizedLayer) -> bool:
    """From bits and shapes alone: the largest sum of products of codes, as an integer."""
    assert layer.weight_quantizer is not None and layer.input_quantizer is not None
    bits = layer.input_quantizer.bits
    largest = 2 ** (bits - 1) if layer.input_quantizer.signed else 2**bits - 1
    fan_in = layer.layer.weight.numel() // layer.layer.weight.shape[0]
    return fan_in * largest * 2 ** (layer.weight_quantizer.bits - 1) <= EXACT_LIMIT


@torch.no_grad()
def _outputs(model: nn.Module, layers: list[QuantizedLayer], x: torch.Tensor) -> list[torch.Tensor]:
    """What these layers give, and the model where they are all of its layers."""
    found: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda *args: found.append(args[2].clone())) for layer in layers]
    output = model(x)
    for hook in hooks:
        hook.remove()
    return [*found, output] if len(layers) == len(quantized_layers(model)) else found


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
