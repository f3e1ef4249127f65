"""The metric of a trial before its first step, and the scores of single test images."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.trials import FLOAT, PHOTOS, assert_same_curve, assert_same_state, tiny_trial, training_of, work_of
from tests.training.test_loop import dropping
from tune_qat import Scheme
from tune_qat.config import UsageError
from tune_qat.quantization.model import quantizers_of
from tune_qat.results.reader import last_epochs
from tune_qat.results.writer import EpochLog
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint
from tune_qat.training.loop import Training
from tune_qat.tuning.rows import outcome_columns

TRIALS: dict[str, dict[str, Any]] = {
    "adam": {},
    "schedule-free": {"optimizer": "schedule_free_adamw"},
    "batch norm anew": {"scheme": Scheme(quantizer="lsq_plus"), "bn_reestimation_batches": 2},
    "photos": {**PHOTOS, "batch_size": 8},
    "float": {"scheme": FLOAT},
}


class WithoutIt(Training):
    """The training loop as it was before this metric."""

    def _calibrated(self) -> Any:
        return None


@pytest.mark.parametrize("name", TRIALS)
def test_training_is_the_same_to_the_last_bit_without_it(name: str) -> None:
    config, found = tiny_trial(**TRIALS[name]), []
    # A model with dropout and running statistics, whose training depends on all that an evaluation might disturb.
    work = work_of(config) if config.dataset == "photos" else dropping()
    for kind in (Training, WithoutIt):
        torch.manual_seed(5)
        training = kind(config, work)
        found.append((training, list(training.epochs(test=True)), torch.get_rng_state()))
    (ours, curve, state), (theirs, plain, state_of_theirs) = found
    assert curve[0].calibrated_metric is not None
    assert_same_curve([replace(result, calibrated_metric=None) for result in curve], plain)
    assert_same_state(ours.model, theirs.model)
    assert torch.equal(state, state_of_theirs)


@pytest.mark.parametrize("scheme", [Scheme(), FLOAT], ids=["W4A4", "float"])
def test_it_is_that_of_the_calibrated_model_and_at_32_bits_of_the_start(tmp_path: Path, scheme: Scheme) -> None:
    start, path = training_of(tiny_trial(scheme=FLOAT, epochs=4, learning_rate=3e-3)), tmp_path / "start.pt"
    last = list(start.epochs())[-1]
    save_checkpoint(start.state_dict(), path)
    config = tiny_trial(scheme=scheme, seed=3)
    other = training_of(config, init=path)
    other.model.eval()
    with torch.no_grad():
        expected = other.task.evaluate(other.model, "val").metric
    first, second = training_of(config, init=path).epochs()
    assert first.calibrated_metric == expected
    assert (first.calibrated_metric == last.val_metric) == scheme.is_float
    assert second.calibrated_metric is None


def test_trials_of_a_process_that_begin_alike_evaluate_it_once() -> None:
    task, evaluated = work_of(tiny_trial()).task(), list[str]()
    evaluate = task.evaluate

    def counted(predict: Any, split: str) -> Any:
        evaluated.append(split)
        return evaluate(predict, split)

    task.evaluate = counted  # type: ignore[method-assign]
    configs: list[dict[str, Any]] = [
        {}, {"optimizer": "sgd", "learning_rate": 0.1}, {"scheme": FLOAT}, {"scheme": FLOAT, "seed": 1},
        {"seed": 1}, {"batch_size": 32}, {"scheme": Scheme(weight_bits=4, activation_bits=2)},
    ]  # fmt: skip
    for number, changes in enumerate(configs):
        config = tiny_trial(**changes, epochs=1)
        found, alone = (next(training_of(config, task=one).epochs()) for one in (task, None))
        assert found.calibrated_metric == alone.calibrated_metric, changes
        # The second begins as the first does, and the fourth as the third: one evaluation after the epoch is left.
        assert len(evaluated) == 1 + (number not in (1, 3)), changes
        evaluated.clear()


def test_a_trial_that_goes_on_from_a_checkpoint_has_that_of_its_first_attempt(tmp_path: Path) -> None:
    config = tiny_trial()
    first = training_of(config)
    begun = next(first.epochs())
    EpochLog(tmp_path, "study", "key").append(begun)
    save_checkpoint(first.state_dict(), tmp_path / "last.pt")
    second = training_of(config)
    second.load_state_dict(load_checkpoint(tmp_path / "last.pt"))
    log = EpochLog(tmp_path, "study", "key")
    log.append(next(second.epochs()))
    assert log.attempt == 2
    epochs = last_epochs(tmp_path, "study", "key")
    assert [row["attempt"] for row in epochs] == [1, 2]
    row = outcome_columns(epochs, "completed", sign=1, trivial_score=0.1)
    assert row["calibrated_metric"] == begun.calibrated_metric is not None


def test_an_epoch_of_an_earlier_version_has_none() -> None:
    training = training_of(tiny_trial(epochs=1))
    (result,) = training.epochs()
    row = {name: getattr(result, name) for name in result.__slots__ if name not in ("calibrated_metric", "layers")}
    found = outcome_columns([row], "completed", sign=1, trivial_score=0.1)
    assert found["calibrated_metric"] is None and found["val_metric"] == result.val_metric


@pytest.mark.parametrize("changes", [{}, {**PHOTOS, "batch_size": 8}], ids=["digits", "photos"])
def test_single_test_images_are_those_whose_mean_is_the_metric(changes: dict[str, Any]) -> None:
    *earlier, last = training_of(tiny_trial(**changes)).epochs(test=True)
    assert all(result.test_images_json is None for result in earlier)
    if not changes:
        assert last.test_n == 359 and last.test_images_json is None  # more than are kept
        return
    images = json.loads(last.test_images_json or "")
    assert len(images) == last.test_n == 2
    assert sum(images) / 2 == last.test_metric
    assert last.test_images_json == json.dumps(images)  # every digit: the mean is the metric exactly


class TestSeveralBatches:
    def test_quantizers_begin_from_the_samples_of_all_of_them(self) -> None:
        several = training_of(tiny_trial(calibration_batches=3))
        one = training_of(tiny_trial(batch_size=48))
        steps = [
            [part.step_init for part in quantizers_of(training.model)]
            for training in (several, one, training_of(tiny_trial()))
        ]
        assert steps[0] == steps[1] != steps[2]
        assert several.steps_per_epoch == 6, "steps keep their batch size"

    def test_more_than_an_epoch_is_refused(self) -> None:
        with pytest.raises(UsageError, match="calibration_batches = 7 batches of 16 are more than one epoch"):
            training_of(tiny_trial(calibration_batches=7))
