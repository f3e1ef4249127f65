"""Label smoothing: torch's own loss, in the gradient alone."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.helpers.studies import tiny_study
from tests.helpers.trials import PHOTOS, results_of, timeless, tiny_trial, training_of, work_of
from tune_qat.config import TrialConfig, UsageError
from tune_qat.training.label_smoothing import smoothed

SMOOTH = {"epochs": 3, "label_smoothing": 0.1}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_loss_and_gradient_are_those_of_torch(share: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, labels = 5 * torch.randn(8, 10, generator=draw), torch.randint(10, (8,), generator=draw)
    found = []
    for ours in (True, False):
        given = logits.clone().requires_grad_()
        plain = functional.cross_entropy(given, labels)
        loss = smoothed(plain, given, share) if ours else functional.cross_entropy(given, labels, label_smoothing=share)
        loss.backward()
        found.append((loss.detach(), given.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)  # float32, sums of ten terms in another order


def first_step(**changes: Any) -> tuple[float | None, torch.Tensor | None]:
    """Recorded loss of a whole epoch in one step, and the gradient of the last layer's bias."""
    config = tiny_trial(batch_size=96, epochs=1, **changes)
    training = training_of(config)
    (result,) = training.epochs()
    return result.train_loss, dict(training.model.named_parameters())["fc3.layer.bias"].grad


def test_the_record_has_the_loss_of_the_labels_and_weights_learn_the_other() -> None:
    (plain, before), (same, after) = first_step(), first_step(label_smoothing=0.1)
    assert plain == same and before is not None and after is not None
    # d loss / d bias is the mean of softmax minus target, and targets move to a tenth of equal classes.
    target = torch.tensor([0.1])
    labels = torch.from_numpy(work_of(tiny_trial()).dataset.splits["train"].targets)  # type: ignore[union-attr]
    shares = torch.bincount(labels, minlength=10) / len(labels)
    torch.testing.assert_close(after - before, 0.1 * shares - 0.1 * target, rtol=1e-4, atol=1e-6)


def test_it_trains_and_is_in_the_key_only_where_it_is_used() -> None:
    plain, smooth = tiny_trial(), tiny_trial(label_smoothing=0.1)
    assert "label_smoothing" not in plain.identity() and smooth.identity()["label_smoothing"] == 0.1
    assert plain.config_id == tiny_trial(label_smoothing=0).config_id != smooth.config_id
    assert TrialConfig.from_dict(smooth.to_dict()) == smooth
    assert [timeless(one) for one in results_of(plain)] != [timeless(one) for one in results_of(smooth)]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_below_one(share: float) -> None:
    with pytest.raises(UsageError, match="label_smoothing must be at least 0 and below 1"):
        tiny_trial(label_smoothing=share)


def test_other_tasks_are_answered_with_one_message() -> None:
    with pytest.raises(UsageError, match="label_smoothing is defined for classification, but dataset 'photos' is not"):
        training_of(tiny_trial(**PHOTOS, label_smoothing=0.1))
    workload = {"model": "espcn", "dataset": "photos"}
    with pytest.raises(
        ValueError, match="training.label_smoothing: is defined for classification, but dataset 'photos'"
    ):
        tiny_study(workload=workload, judgement={"metric": "psnr", "margin": 0.1}, training=SMOOTH)


def test_a_study_smooths_labels_of_all_its_trials() -> None:
    study = tiny_study(training=SMOOTH)
    arm = study.arms()[0]
    assert study.default_config(arm, arm.optimizers[0]).label_smoothing == 0.1
