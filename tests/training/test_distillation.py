"""Distillation: its loss against plain sums and torch's own, and that it reaches the weights of a trial."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.helpers.trials import PHOTOS, assert_same_curve, results_of, resumed_every_epoch, tiny_trial, training_of
from tune_qat.config import Distillation, TrialConfig, UsageError
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.distillation import Teacher, distillation_loss

TAUGHT = {"epochs": 2, "distillation": Distillation(weight=0.5, temperature=2.0)}


def logits(seed: int) -> torch.Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def plain_loss(student: list[list[float]], teacher: list[list[float]], temperature: float) -> float:
    """The definition, a sum at a time."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        of_s = sum(math.exp(value / temperature) for value in s)
        of_t = sum(math.exp(value / temperature) for value in t)
        for a, b in zip(s, t, strict=True):
            p, q = math.exp(b / temperature) / of_t, math.exp(a / temperature) / of_s
            total += p * math.log(p / q)
    return temperature**2 * total / len(student)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floating-point model that knows a little."""
    path = tmp_path_factory.mktemp("start") / "last.pt"
    config = tiny_trial(scheme=training_scheme(32), epochs=3, learning_rate=3e-3)
    training = training_of(config)
    list(training.epochs())
    save_checkpoint(training.state_dict(), path)
    return path


def training_scheme(bits: int) -> Any:
    from tune_qat.quantizers import scheme_of

    return scheme_of(quantizer="lsq", weight_bits=bits, activation_bits=bits)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_loss_is_the_definition(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    expected = plain_loss(student.tolist(), teacher.tolist(), temperature)
    # Some hundred roundings in double precision.
    assert distillation_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_that_of_the_cross_entropy_with_soft_labels() -> None:
    student, teacher, temperature = logits(0).requires_grad_(), logits(1), 3.0
    distillation_loss(student, teacher, temperature).backward()
    again = logits(0).requires_grad_()
    soft = functional.softmax(teacher / temperature, -1)
    (temperature**2 * functional.cross_entropy(again / temperature, soft)).backward()
    # The entropy of the teacher, by which they differ, has no gradient; roundings of double precision.
    torch.testing.assert_close(student.grad, again.grad, rtol=1e-12, atol=1e-14)


def test_loss_is_nothing_where_both_agree_up_to_a_constant() -> None:
    # Logits of a size of 10: their softmax is rounded to one part in 2^53.
    assert abs(distillation_loss(logits(0) + 5, logits(0), 2.0).item()) < 1e-14


def test_the_two_losses_have_their_weights() -> None:
    model = nn.Linear(3, 4)
    teacher = Teacher(model, Distillation(weight=0.25, temperature=2.0))
    inputs, output = torch.ones(2, 3), torch.zeros(2, 4)
    expected = 0.75 * 8.0 + 0.25 * distillation_loss(output, model(inputs), 2.0).item()
    assert teacher.loss(inputs, output, torch.tensor(8.0)).item() == pytest.approx(expected, rel=1e-6)  # float32


def test_a_teacher_stays_as_it_was_and_draws_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    teacher = Teacher(model, Distillation())
    inputs, output = torch.randn(6, 3), torch.zeros(6, 4, requires_grad=True)
    random, zero = torch.get_rng_state(), torch.zeros(())
    before = teacher.loss(inputs, output, zero)
    with torch.no_grad():
        model[0].weight.fill_(9.0)  # type: ignore[operator]
    model.train()
    assert torch.equal(teacher.loss(inputs, output, zero), before)
    assert torch.equal(torch.get_rng_state(), random)


def test_a_trial_learns_from_its_start(start: Path) -> None:
    """With all weight on the teacher, and no gradient from the labels, it learns all the same."""
    alone = tiny_trial(epochs=1, scheme=training_scheme(3), distillation=Distillation(weight=1.0), learning_rate=3e-3)
    training = training_of(alone, init=start)
    loss = training.task.loss
    training.task.loss = lambda output, target: loss(output, target).detach()  # type: ignore[method-assign]
    first = training.model.state_dict()["conv1.layer.weight"].clone()
    list(training.epochs())
    assert not torch.equal(training.model.state_dict()["conv1.layer.weight"], first)


def test_what_is_recorded_is_the_loss_against_the_labels(start: Path) -> None:
    # One step: the model is the start in both, and so is its loss.
    one = {"epochs": 1, "batch_size": 96, "schedule": "constant"}
    plain, taught = (
        results_of(tiny_trial(**one, **more), init=start)[0] for more in ({}, {"distillation": Distillation()})
    )
    assert plain.train_loss == taught.train_loss
    assert plain.val_loss != taught.val_loss


def test_going_on_from_a_checkpoint_is_the_same(start: Path, tmp_path: Path) -> None:
    config = tiny_trial(**TAUGHT)
    resumed, _ = resumed_every_epoch(config, tmp_path, init=start)
    assert_same_curve(resumed, results_of(config, init=start))


def test_the_teacher_is_not_in_the_checkpoint(start: Path) -> None:
    taught, plain = (training_of(tiny_trial(**more), init=start).state_dict() for more in (TAUGHT, {}))
    assert taught["model"].keys() == plain["model"].keys()


def test_without_a_teacher() -> None:
    with pytest.raises(UsageError, match=r"needs a teacher, .* starts from scratch. Give init"):
        training_of(tiny_trial(**TAUGHT))


def test_of_another_task_than_classification(tmp_path: Path) -> None:
    config = TrialConfig(**{**as_fields(tiny_trial()), **PHOTOS, "batch_size": 4, "distillation": Distillation()})
    path = tmp_path / "start.pt"
    plain = TrialConfig(**{**as_fields(config), "distillation": None, "scheme": training_scheme(32)})
    save_checkpoint(training_of(plain).state_dict(), path)
    with pytest.raises(UsageError, match="defined for classification, but dataset 'photos' is not"):
        training_of(config, init=path)


def as_fields(config: TrialConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": 0}, "distillation weight must be above 0 and at most 1, but got 0.0"),
        ({"weight": 1.5}, "distillation weight must be above 0 and at most 1, but got 1.5"),
        ({"temperature": 0}, "distillation temperature must be above 0, but got 0.0"),
        ({"weight": math.nan}, "distillation weight must be a finite number, but got nan"),
    ],
)
def test_values_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Distillation(**values)
