"""Compiled steps against eager ones. Compiling takes seconds, so each program here is tiny and serves several tests."""

import copy
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor.utils import clear_caches, fresh_cache

from tests.helpers.trials import (
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
    work_of,
)
from tune_qat.config import UsageError
from tune_qat.training.compiler import _compiler_problem, compiled, set_precision, usable
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload

# One process compiles; the others find what it compiled.
pytestmark = pytest.mark.xdist_group("inductor")

CPU = torch.device("cpu")


@pytest.fixture
def fresh_programs() -> None:
    """No program is in memory, and the probe of `usable` is not counted."""
    assert usable("inductor", CPU) == ("inductor", "")
    torch._dynamo.reset()
    counters.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_programs")
def test_trials_share_a_program_unless_their_shapes_differ() -> None:
    def programs(**changes: Any) -> int:
        training = training_of(tiny_trial(**changes), backend="inductor")
        next(training.epochs())
        assert training.backend == "inductor"
        return counters["stats"]["unique_graphs"]

    assert programs(batch_size=16, epochs=2) == 1
    assert programs(seed=5, init_seed=5, learning_rate=0.01, optimizer="lion", epochs=3, schedule="step") == 1
    assert programs(batch_size=24) == 2
    assert programs(batch_size=24, seed=5, optimizer="sgd") == programs(batch_size=16) == 2


@pytest.mark.slow
def test_a_compiled_trial_is_repeatable_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    once = results_of(tiny_trial(epochs=3), backend="inductor")
    assert_same_curve(once, results_of(tiny_trial(epochs=3), backend="inductor"))
    assert_same_curve(once, resumed_every_epoch(tiny_trial(epochs=3), tmp_path, backend="inductor")[0])


@pytest.mark.slow  # to compile, where nobody has
@pytest.mark.usefixtures("fresh_programs")
def test_more_programs_than_torch_keeps_by_default() -> None:
    # Torch's limit is 8, and beyond it eager without a word. Linear layers compile fast.
    value = torch.randn(4, 6)
    for width in range(1, 11):
        model = nn.Sequential(nn.Linear(6, width))
        torch.testing.assert_close(compiled(model, CPU)(value), model(value))
    assert counters["stats"]["unique_graphs"] == 10


@dataclass(frozen=True, kw_only=True)
class Network(Workload):
    """A network of a test's own on the digits."""

    layers: tuple[nn.Module, ...]
    """In front of its linear layer."""

    def build_model(self, init_seed: int) -> nn.Module:
        torch.manual_seed(init_seed)
        return nn.Sequential(*copy.deepcopy(self.layers), nn.Flatten(), nn.Linear(784, 10))


def with_layers(*layers: nn.Module) -> Network:
    return Network(model="of a test", dataset=work_of(tiny_trial()).dataset, layers=layers)


@torch.library.custom_op("tune_qat_tests::same", mutates_args=())
def same(images: torch.Tensor) -> torch.Tensor:
    """An operation of somebody's own, of which a compiler cannot know the shape."""
    return images.clone()


@same.register_fake
def _(images: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not known before it runs")


same.register_autograd(lambda _, grad: grad)


class Same(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = same(images)
        return result


class Interrupted(nn.Module):
    """What a compiler cannot follow: it compiles what comes before and what comes after."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return images


def check_trained_eagerly(training: Training, work: Workload) -> None:
    eager = Training(tiny_trial(), work)
    curves = [list(trial.epochs()) for trial in (training, eager)]
    assert training.backend == "eager" and "cannot compile a model of this study" in training.remark
    assert_same_curve(*curves)
    assert_same_state(training.model, eager.model)


def test_a_network_that_cannot_be_compiled_is_trained_eagerly() -> None:
    work = with_layers(Same())
    check_trained_eagerly(Training(tiny_trial(), work, backend="inductor"), work)


def test_a_network_of_which_the_second_part_cannot_be_compiled_is_trained_eagerly() -> None:
    work = with_layers(nn.BatchNorm2d(1), Interrupted(), Same())
    check_trained_eagerly(Training(tiny_trial(), work, backend="inductor"), work)


@pytest.mark.slow
def test_a_compiler_that_fails_after_the_first_way_forward_ends_no_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training = Training(tiny_trial(), with_layers(nn.ReLU()), backend="inductor")
    loss = training.task.loss

    def breaks_the_compiler(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        broken.enter_context(torch._inductor.config.patch({"cpp.cxx": ("/bin/false",)}))
        return loss(output, target)

    monkeypatch.setattr(training.task, "loss", breaks_the_compiler)
    with fresh_cache(dir=str(tmp_path), delete=False), ExitStack() as broken:
        assert list(training.epochs())[-1].status == "completed"


@pytest.mark.slow
def test_damaged_files_of_the_compiler_are_done_without(tmp_path: Path) -> None:
    """As a full disk or a crash leaves them: the trial is compiled as all of its study, and the folder is named.

    Programs alone: libraries that this process has loaded are not read again.
    """
    with fresh_cache(dir=str(tmp_path), delete=False):
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        torch._dynamo.reset()
        work = with_layers(nn.ReLU())
        whole = list(Training(tiny_trial(), work, backend="inductor").epochs())
        clear_caches()
        torch._dynamo.reset()
        damaged = list(folder.rglob("*.py"))
        for path in damaged:
            path.write_bytes(b"\0" * 20)
        training = Training(tiny_trial(), work, backend="inductor")
        curve = list(training.epochs())
        assert damaged and training.backend == "inductor"
        assert f"Files that Inductor keeps in {folder} are damaged" in training.remark
        assert_same_curve(curve, whole)
    torch._dynamo.reset()


@pytest.fixture
def no_compiler(tmp_path: Path) -> Iterator[None]:
    """A machine without one: no program is in memory or on disk, and the probe of `usable` has not been asked."""
    broken = torch._inductor.config.patch({"cpp.cxx": ("/bin/false",)})
    with fresh_cache(dir=str(tmp_path), delete=False), broken:
        torch._dynamo.reset()
        _compiler_problem.cache_clear()
        yield
    torch._dynamo.reset()
    _compiler_problem.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_training_is_eager() -> None:
    training = training_of(tiny_trial(), backend="inductor")
    curve = list(training.epochs())
    assert training.backend == "eager" and "C++" in training.why_not_compiled, training.why_not_compiled
    assert_same_curve(curve, results_of(tiny_trial()))


def test_a_short_trial_is_not_compiled_unless_asked_for() -> None:
    assert training_of(tiny_trial(), backend="auto").backend == "eager"
    with pytest.raises(UsageError, match="must be one of auto, eager, inductor, but got 'jit'"):
        training_of(tiny_trial(), backend="jit")


def test_a_cpu_multiplies_float32() -> None:
    assert set_precision("cpu") == "float32"
    assert usable("inductor", CPU) == ("inductor", "")
