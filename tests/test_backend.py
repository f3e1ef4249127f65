"""Compiled steps against eager ones. Compiling takes seconds, so each program here is tiny and serves several tests."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.test_quantized_layer import build, calibrate
from tests.trials import FLOAT, PHOTOS, assert_same_curve, results_of, resumed_every_epoch, tiny, training_of, work_of
from tune_qat import Scheme
from tune_qat.backend import compiled, set_precision, usable
from tune_qat.config import TrialConfig, UsageError
from tune_qat.training import Training
from tune_qat.workload import Workload

# One process compiles; the others find what it compiled.
pytestmark = pytest.mark.xdist_group("inductor")

CPU = torch.device("cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Sums(nn.Module):
    """Layers whose outputs are sums of integer codes themselves: steps of 1, no bias."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        torch.manual_seed(bits)
        conv, linear = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.Linear(512, 5, bias=False)
        self.conv, self.linear = build(conv, bits, bits), build(linear, bits, bits)
        self.eval()
        for layer, value in ((self.conv, images()), (self.linear, images().flatten(1))):
            calibrate(layer, value)
            assert layer.weight_quantizer and layer.input_quantizer
            with torch.no_grad():
                layer.weight_quantizer.step.fill_(1.0)
                layer.input_quantizer.step.fill_(1.0)
                layer.layer.weight.mul_(2**bits * 10)

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(value), self.linear(value.flatten(1))


def images() -> torch.Tensor:
    return 100 * torch.randn((32, 8, 8, 8), generator=torch.Generator().manual_seed(0))


def equal(left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize("bits", [2, 4, 8])
@torch.no_grad()
def test_sums_of_codes_are_the_same_bits_in_any_order(bits: int) -> None:
    model, value = Sums(bits), images()
    layers = [model.conv, model.linear]
    # 8 * 3 * 3 and 512 weights: at 8 bits signed, 128 * 128 * 512 = 2^23.
    assert all(layer.exact for layer in layers)
    expected = model(value)
    assert all(torch.equal(output, output.round()) and output.abs().max() > 2**bits for output in expected)
    # The same sums in integers, by another way.
    codes = [layer.input_quantizer(value.flatten(1)).code.long() for layer in layers if layer.input_quantizer]
    weight = model.linear.weight_quantizer(model.linear.layer.weight).code.long()  # type: ignore[misc]
    assert torch.equal(expected[1].long(), codes[1] @ weight.T)
    with threads(2):
        assert equal(model(value), expected)
    assert equal(model(value.contiguous(memory_format=torch.channels_last)), expected)
    for start, stop in ((0, 1), (7, 10), (31, 32)):
        assert equal(model(value[start:stop]), tuple(output[start:stop] for output in expected))
    backwards = model(value.flip(0))
    assert equal(tuple(output.flip(0) for output in backwards), expected)
    if bits != 2:
        function: Any = compiled(model, CPU)
        assert equal(function(value), expected)


@torch.no_grad()
def test_beyond_the_limit_a_sum_is_rounded_and_the_layer_says_so() -> None:
    layer = build(nn.Linear(4096, 3, bias=False), 8, 8)
    value = torch.rand((4, 4096), generator=torch.Generator().manual_seed(0))
    calibrate(layer, value)
    assert not layer.exact
    assert layer.input_quantizer and layer.weight_quantizer
    x, w = layer.input_quantizer(value), layer.weight_quantizer(layer.layer.weight)
    exact = (x.code.double() @ w.code.double().T) * x.scale * w.scale
    size = (x.code.double().abs() @ w.code.double().abs().T) * x.scale * w.scale
    # A sum of n float32 terms in any order is off by at most n roundings of 2^-24 of the sum of their sizes.
    assert ((layer(value) - exact).abs() <= 4096 * 2**-24 * size).all()


def one_step(config: TrialConfig, backend: str, state: dict[str, Any] | None) -> dict[str, torch.Tensor]:
    training = training_of(config, backend=backend)
    if state is not None:
        training.load_state_dict(copy.deepcopy(state))  # an optimizer goes on with the tensors it is given
    next(training.epochs())
    assert training.backend == backend and training.steps_per_epoch == 1
    return dict(training.model.named_parameters())


@pytest.mark.parametrize("scheme", [Scheme(), FLOAT], ids=["4/4", "32/32"])
@pytest.mark.parametrize("changes", [{}, PHOTOS], ids=["digits", "photos"])
def test_one_step_from_any_state_is_the_same_to_a_millionth(changes: dict[str, Any], scheme: Scheme) -> None:
    samples = work_of(tiny(**changes)).task().train_size
    whole = {**changes, "scheme": scheme, "batch_size": samples, "epochs": 3, "schedule": "constant"}
    for optimizer, rate in (("sgd", 0.05), ("adam", 1e-3)):
        config = tiny(**whole, optimizer=optimizer, learning_rate=rate)
        later = training_of(config)
        next(later.epochs())
        for state in (None, later.state_dict()):
            eager, fast = (one_step(config, backend, state) for backend in ("eager", "inductor"))
            for name, expected in eager.items():
                largest = float(expected.detach().abs().max())
                # Relative to the tensor: float32 sums in another order differ by some 1e-7. Adam divides a gradient by
                # its own size, so that one which is zero but for rounding may move by a rate in any direction: at most
                # 1 of 1,000 weights may.
                off = (fast[name] - expected).detach().abs() > 1e-6 * largest
                allowed = 0.001 if optimizer == "adam" else 0.0
                assert off.float().mean() <= allowed, (optimizer, name)


def test_trials_share_a_program_unless_their_shapes_differ() -> None:
    counters.clear()

    def programs(**changes: Any) -> int:
        training = training_of(tiny(**changes), backend="inductor")
        next(training.epochs())
        assert training.backend == "inductor"
        return counters["stats"]["unique_graphs"]

    first = programs(batch_size=16, epochs=2)
    assert first <= 1  # none where another test has had it compiled
    assert programs(seed=5, init_seed=5, learning_rate=0.01, optimizer="lion", epochs=3) == first
    assert programs(scheme=Scheme(ste="round_then_clip"), optimizer="sgd") == first + 1


def test_a_compiled_trial_is_repeatable_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    once = results_of(tiny(epochs=3), backend="inductor")
    assert_same_curve(once, results_of(tiny(epochs=3), backend="inductor"))
    assert_same_curve(once, resumed_every_epoch(tiny(epochs=3), tmp_path, backend="inductor")[0])


def test_more_programs_than_torch_keeps_by_default() -> None:
    # Torch's limit is 8, and beyond it eager without a word. Linear layers compile fast.
    counters.clear()
    value = torch.randn(4, 6)
    for width in range(1, 11):
        model = nn.Sequential(nn.Linear(6, width))
        torch.testing.assert_close(compiled(model, CPU)(value), model(value))
    assert counters["stats"]["unique_graphs"] == 10


@torch.library.custom_op("tune_qat_tests::same", mutates_args=())
def same(images: torch.Tensor) -> torch.Tensor:
    """An operation of somebody's own, of which a compiler cannot know the shape."""
    return images.clone()


@same.register_fake
def _(images: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not known before it runs")


class Same(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = same(images)
        return result


class Uncompilable(Workload):
    def build_model(self, init_seed: int) -> nn.Module:
        return nn.Sequential(Same(), *super().build_model(init_seed).children())


def test_a_network_that_cannot_be_compiled_is_trained_eagerly() -> None:
    work = Uncompilable(model="lenet5", dataset=work_of(tiny()).dataset)
    training = Training(tiny(), work, backend="inductor")
    curve = list(training.epochs())
    assert training.backend == "eager"
    assert_same_curve(curve, results_of(tiny(), work=work))


NO_COMPILER = """
import torch
from tests.trials import results_of, tiny, training_of
from tune_qat.config import TrialConfig
training = training_of(tiny(), backend="inductor")
curve = [epoch.train_loss for epoch in training.epochs()]
assert training.backend == "eager" and "C++" in training.why_not_compiled, training.why_not_compiled
assert curve == [epoch.train_loss for epoch in results_of(tiny())]
print("eager")
"""


def test_without_a_compiler_training_is_eager(tmp_path: Path) -> None:
    environment = os.environ | {"CXX": "/bin/false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", NO_COMPILER], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "eager", ran.stderr


def test_a_short_trial_is_not_compiled_unless_asked_for() -> None:
    assert training_of(tiny(), backend="auto").backend == "eager"
    with pytest.raises(UsageError, match="must be one of auto, eager, inductor, but got 'jit'"):
        training_of(tiny(), backend="jit")


def test_a_cpu_multiplies_float32() -> None:
    assert set_precision("cpu") == "float32"
    assert usable("inductor", CPU) == ("inductor", "")
