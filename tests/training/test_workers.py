"""Two processes that train one model: their numbers are those of one, but for rounding."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from tests.helpers.trials import FLOAT, PHOTOS, tiny_trial, training_of
from tests.helpers.two_workers import Pair, steps_in_double, two_workers
from tune_qat import optimizers, quantizers
from tune_qat.config import Dampening, Distillation, Freezing, QuantizerOptimizer, TrialConfig, UsageError
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.workers import check_divides, check_model, own_part

pytestmark = pytest.mark.slow
AMPLIFY = ["rmsprop", "soap"]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_workers() as pair:
        yield pair


def assert_same(pair: Pair, config: TrialConfig, close: float = 1e-4, **more: Any) -> None:
    """What two workers and one give: parameters, norms' statistics, and every number of every epoch."""
    alone = training_of(config, **more)
    expected = list(alone.epochs())
    together, found = pair.training(config, **more)
    one, two = (parameters_to_vector(training.model.parameters()) for training in (alone, together))
    assert (one - two).norm() <= close * one.norm()
    for name, buffer in alone.model.named_buffers():
        torch.testing.assert_close(dict(together.model.named_buffers())[name], buffer, rtol=20 * close, atol=20 * close)
    assert len(found) == len(expected)
    for left, right in zip(expected, found, strict=True):
        for name in ("train_loss", "train_metric", "val_loss", "val_metric", "grad_norm", "learning_rate", "step"):
            assert getattr(right, name) == pytest.approx(getattr(left, name), rel=20 * close, abs=20 * close), name
        for a, b in zip(left.layers, right.layers, strict=True):
            assert b.oscillation_frequency == pytest.approx(a.oscillation_frequency, abs=0.01)


@pytest.mark.parametrize("name", [name for name in optimizers.OPTIMIZERS if name not in AMPLIFY])
def test_every_optimizer_makes_the_steps_of_one_process(pair: Pair, name: str) -> None:
    assert_same(pair, tiny_trial(optimizer=name, epochs=1))


def assert_same_steps(pair: Pair, config: TrialConfig) -> None:
    """In double precision, where a difference is one of the arithmetic and not of rounding that turned a code."""
    alone, together = steps_in_double(config), pair.in_double(config)
    moved = alone - parameters_to_vector(training_of(config).model.parameters()).detach()
    assert moved.norm() > 0
    assert (alone - together).norm() <= 1e-5 * moved.norm()


def test_rmsprop_makes_the_steps_of_one_process(pair: Pair) -> None:
    """Its first steps have nearly the size of the rate however small the gradient, rounded to either side of zero."""
    assert_same_steps(pair, tiny_trial(optimizer="rmsprop", batch_size=48))


def test_soap_learns_as_in_one_process(pair: Pair) -> None:
    """Rounding chooses among the eigenvectors of what no gradient has reached: its steps are those of one by size."""
    config = tiny_trial(optimizer="soap", batch_size=48)
    alone, (_, together) = list(training_of(config).epochs()), pair.training(config)
    assert together[0].grad_norm == pytest.approx(alone[0].grad_norm, rel=0.02)
    assert together[-1].train_loss == pytest.approx(alone[-1].train_loss, rel=0.02)


@pytest.mark.parametrize("name", list(quantizers.QUANTIZERS))
def test_every_quantizer_is_calibrated_and_scaled_by_the_global_batch(pair: Pair, name: str) -> None:
    """With batch norm, which methods that do not keep the size of weights need."""
    spec = quantizers.get_spec(name)
    wanted = next(bits for bits in (4, 2, 1) if bits in spec.weights.bits)
    of_inputs = 32 if spec.activations is None else next(bits for bits in (4, 2, 1) if bits in spec.activations.bits)
    scheme = quantizers.scheme_of(quantizer=name, weight_bits=wanted, activation_bits=of_inputs)
    model = "lenet5_xnor" if name == "xnor" else "lenet5_bn"  # which puts a norm right ahead of a sign
    config = tiny_trial(model=model, scheme=scheme, optimizer="sgd", learning_rate=1e-4, batch_size=32)
    assert_same_steps(pair, config)


RECIPES: dict[str, dict[str, Any]] = {
    "floating point": {"scheme": FLOAT},
    "batch norm, estimated anew": {"model": "lenet5_bn", "bn_reestimation_batches": 2},
    "two calibration batches": {"calibration_batches": 2},
    "smoothed labels": {"label_smoothing": 0.1},
    "dampening": {"dampening": Dampening(weight=0.1)},
    "freezing": {"freezing": Freezing(threshold_start=0.2, threshold_end=0.05)},
    "an optimizer of quantizers": {"quantizer_optimizer": QuantizerOptimizer(name="adam", learning_rate=1e-4)},
    "super-resolution": {**PHOTOS},
    "a last batch that is smaller": {"batch_size": 20},
}


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_recipe_gives_the_numbers_of_one_process(pair: Pair, recipe: str) -> None:
    assert_same(pair, tiny_trial(**{"optimizer": "sgd", "learning_rate": 1e-2, **RECIPES[recipe]}))


def test_the_teacher_teaches_the_global_batch(pair: Pair, tmp_path: Path) -> None:
    start = training_of(tiny_trial(scheme=FLOAT))
    save_checkpoint(start.state_dict(), tmp_path / "last.pt")
    taught = tiny_trial(optimizer="sgd", learning_rate=1e-2, distillation=Distillation(weight=0.5, temperature=2.0))
    assert_same(pair, taught, init=tmp_path / "last.pt")


def test_a_checkpoint_goes_on_with_another_number_of_workers(pair: Pair) -> None:
    config = tiny_trial(model="lenet5_bn", optimizer="sgd", learning_rate=1e-2, epochs=3)
    whole, half = training_of(config), training_of(config)
    list(whole.epochs())
    next(half.epochs())
    together, found = pair.training(config, state=half.state_dict())
    assert [result.epoch for result in found] == [2, 3]
    one, two = (parameters_to_vector(training.model.parameters()) for training in (whole, together))
    assert (one - two).norm() <= 1e-4 * one.norm()


def test_a_part_holds_the_workers_share_of_each_full_batch() -> None:
    workers: Any = SimpleNamespace(rank=1, size=2)
    size, order = own_part(workers, torch.arange(10), 4)
    assert (size, order.tolist()) == (2, [2, 3, 6, 7])
    assert own_part(None, order, 4)[1] is order


def test_a_batch_that_does_not_divide_is_one_message() -> None:
    check_divides(2, [2, 64], "space.batch_size")
    with pytest.raises(UsageError, match=r"space\.batch_size = 6 does not fall into 4 equal parts"):
        check_divides(4, [8, 6], "space.batch_size")


class OwnNorm(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values - values.mean(0)


def test_models_that_would_train_otherwise_are_refused() -> None:
    batch = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    check_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), batch)
    with pytest.raises(UsageError, match="draws random numbers"):
        check_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.1)), batch)
    with pytest.raises(UsageError, match="mixes the samples"):
        check_model(nn.Sequential(nn.Conv2d(3, 4, 3), OwnNorm()), batch)
