"""A trial that was interrupted and resumed equals one that was not: every number, bit for bit on a CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.trials import (
    DIGITS,
    FLOAT,
    PHOTOS,
    assert_same_curve,
    assert_same_state,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tests.training.test_loop import dropping
from tune_qat import Scheme, optimizers
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint

SETTINGS: dict[str, Any] = {"epochs": 3, "warmup_epochs": 0.5, "seed": 7, "init_seed": 11}
RATES = {"adadelta": 1.0, "lion": 1e-4, "rmsprop": 1e-3}
"""Where 0.01 would be none at which the optimizer moves and learns."""


SUPER_RESOLUTION: dict[str, Any] = {**PHOTOS, "batch_size": 5}
OF_A_TRIAL: dict[str, tuple[str, dict[str, Any], Scheme]] = {
    # An optimizer's state, a workload's and a scheme's are kept apart, and are lost apart.
    # Two epochs: a state that comes back once comes back twice, as that of the next four does.
    **{name: (name, {**DIGITS, "epochs": 2}, Scheme()) for name in optimizers.OPTIMIZERS},
    "digits": ("adam", DIGITS, Scheme()),
    "digits, float": ("adam", DIGITS, FLOAT),
    "photos": ("adam", SUPER_RESOLUTION, Scheme()),
    "photos, float": ("adam", SUPER_RESOLUTION, FLOAT),
}


@pytest.mark.parametrize(("optimizer", "what", "scheme"), OF_A_TRIAL.values(), ids=OF_A_TRIAL)
def test_resumed_equals_uninterrupted(tmp_path: Path, optimizer: str, what: dict[str, Any], scheme: Scheme) -> None:
    rate = RATES.get(optimizer, 0.01)
    config = tiny_trial(**{**SETTINGS, **what, "scheme": scheme, "optimizer": optimizer, "learning_rate": rate})
    whole = training_of(config)
    curve = list(whole.epochs())
    results, training = resumed_every_epoch(config, tmp_path)
    assert len(curve) == config.epochs and curve[-1].status == "completed"
    assert_same_curve(results, curve)
    assert_same_state(training.model, whole.model)
    # It is not that nothing moves: what is resumed differs from where it started.
    first, last = training_of(config).model.state_dict(), whole.model.state_dict()
    moved = [not torch.equal(first[name], last[name]) for name in first if isinstance(first[name], torch.Tensor)]
    assert all(moved)


@pytest.mark.parametrize(
    "changes",
    [
        {"scheme": Scheme(weight_bits=2, activation_bits=32)},
        {"scheme": Scheme(weight_bits=32, activation_bits=3, ste="round_then_clip")},
        {"quantizer_lr_multiplier": 0.1, "schedule": "step"},
        {"batch_size": 40, "schedule": "constant"},
        {"dataset_options": {"train_limit": 96, "augment": "crop_flip"}},
    ],
    ids=["w2a32", "w32a3", "multiplier", "partial-batch", "augmented"],
)
def test_whatever_the_rest_of_the_configuration(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny_trial(**{**SETTINGS, **changes})
    results, training = resumed_every_epoch(config, tmp_path)
    whole = training_of(config)
    assert_same_curve(results, list(whole.epochs()))
    assert_same_state(training.model, whole.model)


def test_layers_that_draw_and_layers_that_average(tmp_path: Path) -> None:
    config = tiny_trial(**SETTINGS)
    results, training = resumed_every_epoch(config, tmp_path, work=dropping())
    torch.rand(7)  # what else the process draws is of no matter
    whole = training_of(config, work=dropping())
    assert_same_curve(results, list(whole.epochs()))
    assert_same_state(training.model, whole.model)


def test_the_test_split_at_the_end(tmp_path: Path) -> None:
    config = tiny_trial(**SETTINGS)
    whole = list(training_of(config).epochs(test=True))
    training = training_of(config)
    next(training.epochs(test=True))
    save_checkpoint(training.state_dict(), tmp_path / "last.pt")
    resumed = training_of(config)
    resumed.load_state_dict(load_checkpoint(tmp_path / "last.pt"))
    assert_same_curve(list(resumed.epochs(test=True)), whole[1:])
    assert whole[-1].test_metric is not None


def test_the_clocks_go_on() -> None:
    training = training_of(tiny_trial(**SETTINGS))
    next(training.epochs())
    state = training.state_dict()
    assert state["wall_s"] > 0 and state["device_s"] > 0
    resumed = training_of(tiny_trial(**SETTINGS))
    resumed.load_state_dict({**state, "wall_s": 1000.0, "device_s": 2000.0})
    result = next(resumed.epochs())
    # More than before by one small epoch, which takes well under a minute.
    assert 1000 < result.wall_s < 1060 and 2000 < result.device_s < 2060


def test_a_trial_that_has_ended_has_nothing_left(tmp_path: Path) -> None:
    _, training = resumed_every_epoch(tiny_trial(epochs=1), tmp_path)
    assert training.status == "completed"
    assert list(training.epochs()) == []


def test_a_checkpoint_from_before_oscillations_were_tracked_is_gone_on_with() -> None:
    config = tiny_trial(**SETTINGS)
    whole = training_of(config)
    curve = list(whole.epochs())
    first, second = training_of(config), training_of(config)
    next(first.epochs())
    state = first.state_dict()
    del state["oscillations"]
    second.load_state_dict(state)
    rest = list(second.epochs())
    assert [result.val_loss for result in rest] == [result.val_loss for result in curve[1:]]
    frequencies = [layer.oscillation_frequency for layer in rest[-1].layers if layer.kind == "weight"]
    assert all(frequency is not None for frequency in frequencies)
