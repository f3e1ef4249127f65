"""The model that is exported is the one whose score is in the record, whatever trained it."""

from typing import Any

import pytest
import torch

from tests.helpers.trials import FLOAT, PHOTOS, tiny_trial, training_of
from tune_qat import optimizers
from tune_qat.config import Freezing, Scheme, TrialConfig
from tune_qat.export.integer_weight import integer_weight
from tune_qat.export.trained import built
from tune_qat.quantization.model import quantized_layers

RATES = {"adadelta": 1.0, "lion": 1e-4, "rmsprop": 1e-3}
"""Where 0.01 would be none at which the optimizer moves and learns."""


def assert_scores_as_recorded(config: TrialConfig) -> None:
    training = training_of(config)
    *_, last = training.epochs(test=True)
    model = built("key", config, training.state_dict()).model
    # Torch's own pooling and tanh in place of ours: the same values.
    for split, metric in (("val", last.val_metric), ("test", last.test_metric)):
        assert training.task.evaluate(model, split).metric == metric
    assert metric is not None


@pytest.mark.parametrize("optimizer", optimizers.OPTIMIZERS)
def test_of_every_optimizer(optimizer: str) -> None:
    assert_scores_as_recorded(tiny_trial(optimizer=optimizer, learning_rate=RATES.get(optimizer, 0.01), batch_size=32))


@pytest.mark.parametrize(
    "config",
    [
        tiny_trial(scheme=FLOAT),
        tiny_trial(**PHOTOS),
        tiny_trial(scheme=Scheme(layer_bits={"conv1": (2, 3), "fc3": (32, 5)})),
    ],
    ids=["float", "super-resolution", "layer_bits"],
)
def test_of_other_kinds(config: TrialConfig) -> None:
    assert_scores_as_recorded(config)


def test_of_frozen_weights_and_of_batch_norm_estimated_anew() -> None:
    freezing = Freezing(threshold_start=0.03, threshold_end=0.02)
    more: dict[str, Any] = {"model": "lenet5_bn", "freezing": freezing, "bn_reestimation_batches": 3}
    config = tiny_trial(**more, scheme=Scheme(weight_bits=3), learning_rate=3e-3, epochs=6)
    training = training_of(config)
    *_, last = training.epochs(test=True)
    model = built("key", config, training.state_dict()).model
    assert training.task.evaluate(model, "test").metric == last.test_metric
    assert any(layer.frozen_fraction for layer in last.layers)
    for ours, theirs in zip(quantized_layers(model), quantized_layers(training.model), strict=True):
        weights = [integer_weight(layer) for layer in (ours, theirs)]
        assert torch.equal(*(weight.codes for weight in weights if weight is not None))
