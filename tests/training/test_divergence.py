"""Trials that diverge: found in time, told apart from those that recover, and without a number that is none."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.helpers.trials import (
    FLOAT,
    PHOTOS,
    SAMPLES,
    assert_nothing_infinite,
    assert_same_curve,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tune_qat import Scheme, optimizers
from tune_qat.config import EpochResult, TrialConfig
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint
from tune_qat.training.loop import CHECK_EVERY, Training

NAN = float("nan")


def with_losses(config: TrialConfig, value_at: Callable[[int], float | None]) -> Training:
    """A trial whose loss at step s (from 1) has the value `value_at(s)` and its own gradient; None leaves it alone."""
    training = training_of(config)
    measure = training.task.loss

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        real = measure(output, target)
        value = value_at(training.step + 1)
        return real if value is None else real - real.detach() + value

    training.task.loss = loss  # type: ignore[method-assign]  # on this task alone
    return training


def assert_diverged(result: EpochResult) -> None:
    assert result.status == "diverged"
    assert result.val_metric is None and result.val_top5 is None
    assert result.test_metric is None and result.layers == ()
    assert_nothing_infinite(result)


def assert_broken_weights_diverge(config: TrialConfig, step: int) -> None:
    training = with_losses(config, lambda now: NAN if now == step else None)
    # The loss's gradient is as it was: as if a NaN had come up in the backward pass.
    weight = next(training.model.parameters())
    weight.register_hook(lambda gradient: gradient * NAN if training.step + 1 == step else gradient)
    result = next(training.epochs())
    assert result.diverged_at_step == step
    assert_diverged(result)
    if config.optimizer != "lion":  # of signs: sign(NaN) is taken for a number
        assert not torch.isfinite(weight).all(), f"step {step}"


class TestNotFinite:
    @pytest.mark.parametrize("step", [1, 6, 7, 9, 12])
    def test_the_step_is_known(self, step: int) -> None:
        training = with_losses(tiny_trial(epochs=4), lambda now: NAN if now == step else None)
        results = list(training.epochs(test=True))
        assert [result.status for result in results] == ["running"] * ((step - 1) // 6) + ["diverged"]
        assert results[-1].diverged_at_step == step
        assert results[-1].nonfinite_steps == 1
        assert results[-1].train_loss is None and results[-1].val_loss is None
        assert_diverged(results[-1])
        for result in results[:-1]:
            assert (result.nonfinite_steps, result.diverged_at_step) == (0, None)

    @pytest.mark.parametrize("value", [float("inf"), -float("inf")])
    def test_infinite_is_not_finite(self, value: float) -> None:
        result = next(with_losses(tiny_trial(), lambda now: value if now == 2 else None).epochs())
        assert result.diverged_at_step == 2
        assert_diverged(result)

    @pytest.mark.parametrize(
        ("step", "end"), [(7, CHECK_EVERY), (CHECK_EVERY, CHECK_EVERY), (CHECK_EVERY + 1, SAMPLES)]
    )
    def test_training_stops_soon(self, step: int, end: int) -> None:
        training = with_losses(tiny_trial(batch_size=1), lambda now: NAN if now >= step else None)
        results = list(training.epochs())
        assert len(results) == 1 and end - step <= CHECK_EVERY
        assert (results[0].step, results[0].examples) == (end, end)
        assert results[0].nonfinite_steps == end - step + 1
        assert results[0].diverged_at_step == step
        assert_diverged(results[0])

    @pytest.mark.parametrize(
        ("optimizer", "scheme"),
        [*((name, Scheme()) for name in optimizers.OPTIMIZERS), *((name, FLOAT) for name in ("sgd", "adam", "lion"))],
        ids=lambda value: value if isinstance(value, str) else value.label,
    )
    def test_an_absurd_rate(self, optimizer: str, scheme: Scheme) -> None:
        config = tiny_trial(**PHOTOS, scheme=scheme, optimizer=optimizer, learning_rate=1e30, batch_size=4, epochs=3)
        results = results_of(config)
        for result in results:
            assert_nothing_infinite(result)
        # tanh keeps a float model's output within its last layer, and that is far beyond any image
        assert_diverged(results[-1])

    @pytest.mark.parametrize("optimizer", optimizers.OPTIMIZERS)
    def test_whatever_the_optimizer(self, optimizer: str) -> None:
        config = tiny_trial(optimizer=optimizer, learning_rate=optimizers.get_spec(optimizer).default_learning_rate)
        # At the first step, too, where some optimizers only begin their averages, or take a matrix apart.
        for step in (1, 4):
            assert_broken_weights_diverge(config, step)

    def test_weights_that_break_at_the_last_step_are_found_by_validation(self) -> None:
        config = tiny_trial(scheme=FLOAT, optimizer="sgd", learning_rate=1e38, batch_size=SAMPLES, epochs=1)
        results = list(training_of(config).epochs(test=True))
        assert_diverged(results[0])
        assert results[0].train_loss is not None
        assert (results[0].nonfinite_steps, results[0].diverged_at_step) == (0, None)


class TestExploded:
    EPOCHS, GRACE = 18, 2  # a ninth of the epochs

    def statuses(self, factors: list[float]) -> list[str]:
        """Of a trial whose loss is each epoch this many times the constant predictor's, for as many epochs."""
        config = tiny_trial(epochs=self.EPOCHS)
        trivial = training_of(config).task.trivial("train").loss
        training = with_losses(config, lambda step: trivial * factors[(step - 1) // 6])
        results = list(islice(training.epochs(), len(factors)))
        for result in results:
            assert_nothing_infinite(result)
        return [result.status for result in results]

    def test_the_whole_grace_period_is_a_divergence(self) -> None:
        assert self.statuses([10.1, 10.1, 1.0]) == ["running", "diverged"]

    @pytest.mark.parametrize("factors", [[100.0, 1.0, 100.0, 100.0], [1.0, 100.0, 100.0, 100.0], [9.9] * 4], ids=str)
    def test_anything_less_is_not(self, factors: list[float]) -> None:
        assert self.statuses(factors) == ["running"] * 4

    def test_a_trial_of_one_epoch(self) -> None:
        training = with_losses(tiny_trial(epochs=1), lambda step: 1e3)
        (result,) = training.epochs(test=True)
        assert_diverged(result)
        assert result.train_loss == pytest.approx(1e3)
        assert (result.nonfinite_steps, result.diverged_at_step) == (0, None)

    def test_the_count_survives_a_resume(self, tmp_path: Path) -> None:
        config = tiny_trial(epochs=self.EPOCHS)
        first = with_losses(config, lambda step: 1e3)
        assert next(first.epochs()).status == "running"
        save_checkpoint(first.state_dict(), tmp_path / "last.pt")
        second = with_losses(config, lambda step: 1e3)
        second.load_state_dict(load_checkpoint(tmp_path / "last.pt"))
        assert [result.status for result in second.epochs()] == ["diverged"]


class TestResume:
    def test_a_diverged_trial_is_not_gone_on_with(self, tmp_path: Path) -> None:
        training = with_losses(tiny_trial(epochs=TestExploded.EPOCHS), lambda step: 1e3)
        list(training.epochs())
        save_checkpoint(training.state_dict(), tmp_path / "last.pt")
        again = training_of(training.config)
        again.load_state_dict(load_checkpoint(tmp_path / "last.pt"))
        assert again.status == "diverged" and again.epoch == TestExploded.GRACE
        assert list(again.epochs()) == []

    def test_in_its_last_epoch_it_is_not_completed(self, tmp_path: Path) -> None:
        config = tiny_trial(epochs=1, optimizer="sgd", scheme=FLOAT, learning_rate=1e38)
        results, training = resumed_every_epoch(config, tmp_path)
        assert_same_curve(results, results_of(config))
        assert training.epoch == config.epochs and training.status == "diverged"
