"""The model that is exported is the one whose score is in the record, whatever trained it."""

import pytest

from tests.trials import FLOAT, PHOTOS, tiny, training_of
from tune_qat import optimizers
from tune_qat.config import Scheme, TrialConfig
from tune_qat.export.trained import built

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
    assert_scores_as_recorded(tiny(optimizer=optimizer, learning_rate=RATES.get(optimizer, 0.01), batch_size=32))


@pytest.mark.parametrize(
    "config",
    [tiny(scheme=FLOAT), tiny(**PHOTOS), tiny(scheme=Scheme(layer_bits={"conv1": (2, 3), "fc3": (32, 5)}))],
    ids=["float", "super-resolution", "layer_bits"],
)
def test_of_other_kinds(config: TrialConfig) -> None:
    assert_scores_as_recorded(config)
