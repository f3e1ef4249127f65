"""Gradients by micro-batches: those of the whole batch, and the models whose numbers they change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.trials import (
    FLOAT,
    PHOTOS,
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tests.training.test_loop import dropping
from tune_qat import Scheme, optimizers, quantizers
from tune_qat.config import Dampening, Distillation, TrialConfig, UsageError, trial_key
from tune_qat.data.segmentation import NO_CLASS, Segmentation
from tune_qat.training.distillation import Teacher
from tune_qat.training.micro_batches import accumulate, what_changes

PARTS: dict[str, Any] = {"micro_batch": 4}
"""Four of the sixteen samples of a batch at once."""


def gradients(config: TrialConfig) -> tuple[torch.Tensor, list[torch.Tensor | None], list[float]]:
    """The parameters' gradients of the first step, with its row of loss, metric and norm."""
    training = training_of(config)
    step, totals = training._step, _Kept()
    inputs, targets = next(iter(training.task.batches(config.seed, 1, training._order(1), config.batch_size)))
    training.model.train()
    step.optimizer.step = lambda *_: None  # type: ignore[method-assign]  # gradients as they are taken
    step(inputs, targets, 1.0, 0.9, totals)  # type: ignore[arg-type]
    found = [one.grad for one in step.groups.all]
    return torch.cat([one.reshape(-1) for one in found if one is not None]), found, totals.row


class _Kept:
    row: list[float]

    def add(self, loss: torch.Tensor, metric: torch.Tensor, norm: torch.Tensor, clipped: torch.Tensor | None) -> None:
        self.row = [float(loss), float(metric), float(norm)]


def assert_same_step(config: TrialConfig) -> None:
    whole, each, row = gradients(config)
    parts, others, row_of_parts = gradients(replace(config, micro_batch=4))
    assert [one is None for one in each] == [one is None for one in others]
    # Sums of float32 in another order; every tensor counts by itself, since step sizes have the smallest gradients.
    for one, other in zip(each, others, strict=True):
        if one is not None and other is not None:
            assert (one - other).norm() <= 2e-5 * one.norm() + 1e-7
    assert row_of_parts == pytest.approx(row, rel=1e-5)
    assert len(whole) == len(parts)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_gets_the_gradients_of_the_whole_batch(name: str) -> None:
    # Clipping follows on gradients, so it belongs to the step.
    assert_same_step(tiny_trial(optimizer=name, learning_rate=optimizers.get_spec(name).default_learning_rate))


@pytest.mark.parametrize("name", quantizers.QUANTIZERS)
def test_every_quantizer_has_the_gradient_scale_of_the_whole_batch(name: str) -> None:
    spec = quantizers.get_spec(name)
    weights = 4 if spec.weights is None or 4 in spec.weights.bits else min(spec.weights.bits)
    activation = name if spec.activations is not None else "lsq"
    of = spec.activations or quantizers.get_spec("lsq").activations
    assert of is not None
    inputs = 4 if 4 in of.bits else min(of.bits)
    scheme = Scheme(
        quantizer=name,
        activation_quantizer=activation,
        weight_bits=weights,
        activation_bits=inputs,
        first_last_bits=spec.first_last_bits,
    )
    config = tiny_trial(scheme=scheme)
    assert_same_step(config)
    whole, parts = training_of(config), training_of(replace(config, **PARTS))
    assert_same_state(whole.model, parts.model)  # calibrated on a whole batch


@pytest.mark.parametrize(
    "changes", [PHOTOS, {"dampening": Dampening(weight=0.1)}, {"scheme": FLOAT}, {"label_smoothing": 0.1}]
)
def test_same_gradients_with_other_losses(changes: dict[str, Any]) -> None:
    assert_same_step(tiny_trial(**changes))


def plain(inputs: torch.Tensor, output: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    return loss


def test_pixels_without_a_class_do_not_count() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Conv2d(1, 3, 1), torch.randn(4, 1, 5, 5)
    targets = torch.randint(0, 3, (4, 5, 5))
    targets[0], targets[1, :4] = NO_CLASS, NO_CLASS
    task = Segmentation.__new__(Segmentation)
    loss = task.loss(model(inputs), targets)
    (whole,) = torch.autograd.grad(loss, model.weight)
    output, _, total = accumulate(lambda part: (model(part), None), task, plain, inputs, targets, 1)
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, whole)
    torch.testing.assert_close(total, loss.detach())
    torch.testing.assert_close(output, model(inputs).detach())


def test_same_gradients_with_a_teacher() -> None:
    training = training_of(tiny_trial(scheme=FLOAT))
    inputs, targets = next(iter(training.task.batches(0, 1, training._order(1), 16)))
    torch.manual_seed(0)
    teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 10)), Distillation(temperature=2.0))
    last = nn.Linear(inputs[0].numel(), 10)
    model = nn.Sequential(nn.Flatten(), last)
    output = model(inputs)
    (whole,) = torch.autograd.grad(teacher.loss(inputs, output, training.task.loss(output, targets)), last.weight)
    accumulate(lambda part: (model(part), None), training.task, teacher.loss, inputs, targets, 4)
    torch.testing.assert_close(last.weight.grad, whole)


def test_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = tiny_trial(**PARTS)
    results, training = resumed_every_epoch(config, tmp_path)
    whole = training_of(config)
    assert_same_curve(results, list(whole.epochs()))
    assert_same_state(training.model, whole.model)


def test_compiled_step_of_micro_batches() -> None:
    eager, compiled = (
        results_of(tiny_trial(epochs=1, **PARTS)),
        training_of(tiny_trial(epochs=1, **PARTS), backend="inductor"),
    )
    found = list(compiled.epochs())
    # The compiled program adds in another order.
    assert found[0].train_loss == pytest.approx(eager[0].train_loss, rel=1e-3)


def key(config: TrialConfig) -> str:
    return trial_key(config, "default", data_fingerprint="d", split_fingerprint="s", init_checkpoint_sha256=None)


def test_in_the_key_where_it_changes_numbers_alone() -> None:
    plain = tiny_trial()
    assert key(tiny_trial(**PARTS)) == key(tiny_trial(channels_last=True)) == key(plain)
    assert key(tiny_trial(**PARTS, micro_batch_norm=True)) != key(plain)
    assert key(tiny_trial(autocast="bfloat16")) != key(plain)
    assert tiny_trial(micro_batch=16) == tiny_trial(micro_batch=64, micro_batch_norm=True) == plain
    assert TrialConfig.from_dict(tiny_trial(**PARTS).to_dict()) == tiny_trial(**PARTS)


def test_refuses_parts_that_do_not_make_a_batch() -> None:
    with pytest.raises(UsageError, match=r"batch_size = 16 does not fall into micro-batches of 6 .* such as 4\."):
        tiny_trial(micro_batch=6)


def test_batch_norm_and_dropout_need_consent() -> None:
    work, config = dropping(), tiny_trial(**PARTS)
    with pytest.raises(UsageError, match=r"changes more than rounding .*its batch norm .*micro_batch_norm=true"):
        training_of(config, work=work)
    training_of(replace(config, micro_batch_norm=True), work=work)
    with pytest.raises(UsageError, match="leave it out"):
        training_of(replace(config, micro_batch_norm=True))


def test_what_changes() -> None:
    batch = torch.randn(4, 3)
    assert what_changes(nn.Linear(3, 2), batch) == ""
    assert "dropout" in what_changes(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), batch)
    assert "mixes" in what_changes(_Centred(), batch)


class _Centred(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs - inputs.mean(0)
