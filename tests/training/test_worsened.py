"""Starts that noise makes worse: how much noise, on what, and what a trial of it leaves behind."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.trials import FLOAT, PHOTOS, assert_nothing_infinite, tiny_trial, training_of, work_of
from tune_qat import Scheme
from tune_qat.config import StudyHalted, TrialConfig, TuneQatError, UsageError, Worsening, trial_key
from tune_qat.config.statuses import COMPLETED, PRETRAIN
from tune_qat.training.checkpoints import check_trained, load_checkpoint, save_checkpoint, trained_sha256
from tune_qat.training.loop import Training
from tune_qat.training.worsened import FIRST, OutOfReachError, Worsened, noise_factor, trial_of, unit_noise

W2 = Scheme(weight_bits=2, activation_bits=2)
WITHIN = 0.03
"""Of accuracy: a few of the validation digits."""


class TestNoiseFactor:
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("wanted", [0.002, 0.03, 1.0, 7.7, 200.0])
    def test_is_that_of_the_curve_within_the_tolerance(self, wanted: float, sign: int) -> None:
        def metric(factor: float) -> float:
            return sign / (1 + factor)

        within = 1e-4 / (1 + wanted)
        found = noise_factor(metric, metric(wanted), within=within, sign=sign)
        assert abs(metric(found) - metric(wanted)) <= within
        assert found == pytest.approx(wanted, rel=0.1)  # the slope times the tolerance, at the smallest factor

    def test_what_is_near_enough_already_gets_the_smallest_noise(self) -> None:
        assert noise_factor(lambda factor: 0.98, 0.981, within=0.002, sign=1) == FIRST

    def test_a_metric_that_is_no_number_is_worse_than_any(self) -> None:
        def metric(factor: float) -> float:
            return math.nan if factor > 3 else 1 - factor / 10

        assert metric(noise_factor(metric, 0.75, within=0.01, sign=1)) == pytest.approx(0.75, abs=0.01)  # the tolerance

    @pytest.mark.parametrize(
        ("metric", "target", "nearest"),
        [
            (lambda factor: 0.9, 0.5, 0.9),  # noise changes nothing
            (lambda factor: 0.9 if factor < 1 else 0.1, 0.5, 0.1),  # it breaks at once: both sides are 0.4 away
            (lambda factor: 0.9 - factor, 0.95, 0.9),  # the calibrated model is better than the start
            (lambda factor: math.nan, 0.5, math.nan),
        ],
    )
    def test_what_cannot_be_reached_says_how_near_it_came(
        self, metric: Callable[[float], float], target: float, nearest: float
    ) -> None:
        calls = []

        def counted(factor: float) -> float:
            calls.append(factor)
            return metric(factor)

        with pytest.raises(OutOfReachError) as caught:
            noise_factor(counted, target, within=0.01, sign=1)
        assert len(calls) <= 38
        found = caught.value.nearest
        assert math.isnan(nearest) == math.isnan(found)
        assert math.isnan(nearest) or abs(found - target) <= abs(nearest - target) + 1e-3  # beside the first noise


def test_noise_is_each_weights_own_and_on_nothing_else() -> None:
    training = training_of(tiny_trial(scheme=FLOAT))
    noise = unit_noise(training.model, seed=3)
    shapes = {tuple(weight.shape) for weight, _ in noise}
    assert shapes == {tuple(p.shape) for p in training.model.parameters() if p.ndim > 1}, "no biases"
    for weight, drawn in noise:
        error = 6 / math.sqrt(2 * drawn.numel())  # six standard errors of a standard deviation
        assert drawn.std().item() == pytest.approx(weight.std().item(), rel=error)
    again, other = (unit_noise(training.model, seed) for seed in (3, 4))
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(noise, again, strict=True))
    assert not torch.equal(noise[0][1], other[0][1])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet-5 that has learned some digits."""
    path = tmp_path_factory.mktemp("start") / "last.pt"
    training = training_of(tiny_trial(scheme=FLOAT, epochs=12, learning_rate=3e-3))
    list(training.epochs())
    save_checkpoint(training.state_dict(), path)
    return path


def worsening(scheme: Scheme = W2, within: float = WITHIN, **changes: Any) -> TrialConfig:
    return tiny_trial(scheme=FLOAT, epochs=1, worsening=Worsening(scheme=scheme, within=within), **changes)


def made(config: TrialConfig, start: Path) -> tuple[Worsened, Any]:
    found = trial_of(config, work_of(config), init=start)
    assert isinstance(found, Worsened)
    (result,) = found.epochs(test=True)
    return found, result


class TestTrial:
    def test_begins_where_the_calibrated_model_does(self, start: Path, tmp_path: Path) -> None:
        config = worsening()
        trial, result = made(config, start)
        calibrated = training_of(tiny_trial(scheme=W2), init=start).evaluate("val").metric
        before = training_of(tiny_trial(scheme=FLOAT), init=start).evaluate("val").metric
        assert result.calibrated_metric == calibrated < before - 2 * WITHIN, "there is something to worsen"
        assert abs(result.val_metric - calibrated) <= WITHIN
        assert (result.status, result.step, trial.status) == (COMPLETED, 0, COMPLETED)
        assert_nothing_infinite(result)
        # A trial of the control begins from the checkpoint with just this metric, and nothing is quantized.
        save_checkpoint(trial.state_dict(), tmp_path / "worse.pt")
        control = training_of(tiny_trial(scheme=FLOAT, seed=5), init=tmp_path / "worse.pt")
        assert next(control.epochs()).calibrated_metric == result.val_metric

    def test_is_the_same_again_and_another_for_each_seed_and_scheme(self, start: Path) -> None:
        def weights(**changes: Any) -> str:
            return trained_sha256(made(worsening(**changes), start)[0].state_dict(), PRETRAIN)

        assert weights() == weights()
        # Another scheme has other noise even where the same amount would do, so that no two controls are one.
        others = [weights(seed=1), weights(scheme=Scheme(weight_bits=2, activation_bits=8))]
        assert len({weights(), *others}) == 3

    def test_goes_on_from_its_checkpoint_as_made(self, start: Path, tmp_path: Path) -> None:
        config, path = worsening(), tmp_path / "last.pt"
        trial, _ = made(config, start)
        save_checkpoint(trial.state_dict(), path)
        state = load_checkpoint(path)
        again = trial_of(config, work_of(config), init=start)
        again.load_state_dict(state)
        assert again.status == COMPLETED and list(again.epochs()) == []
        sha256 = trained_sha256(again.state_dict(), PRETRAIN)
        assert sha256 == check_trained(state, path, stage=PRETRAIN, sha256=sha256, epochs=1)
        with pytest.raises(TuneQatError, match="another trial"):
            trial_of(worsening(seed=9), work_of(config), init=start).load_state_dict(state)

    def test_super_resolution(self, tmp_path: Path) -> None:
        begun = training_of(tiny_trial(**PHOTOS, scheme=FLOAT, batch_size=8, epochs=6, learning_rate=3e-3))
        list(begun.epochs())
        save_checkpoint(begun.state_dict(), tmp_path / "last.pt")
        _, result = made(worsening(W2, 0.025, **PHOTOS, batch_size=8), tmp_path / "last.pt")
        assert abs(result.val_metric - result.calibrated_metric) <= 0.025

    def test_what_cannot_be_reached_halts_the_study_with_the_figures(self, start: Path) -> None:
        trial = Worsened(worsening(within=1e-9), work_of(worsening()), init=start)
        target = 0.12345678  # between two counts of right answers
        with pytest.raises(StudyHalted, match=r"2/2 bits.*model has 0\.123457 .* the start 0\.\d+; .* Leave 2/2 out"):
            trial._worsen(target)

    def test_needs_a_start_and_is_not_trained(self, start: Path) -> None:
        config = worsening()
        with pytest.raises(UsageError, match="begin from"):
            trial_of(config, work_of(config))
        with pytest.raises(UsageError, match="controls"):
            Training(config, work_of(config), init=start)
        plain = replace(config, worsening=None)
        assert isinstance(trial_of(plain, work_of(plain), init=start), Training)


def test_its_identity_holds_scheme_and_tolerance_and_no_other_trial_changes() -> None:
    def key(config: TrialConfig) -> str:
        return trial_key(config, PRETRAIN, data_fingerprint="", split_fingerprint="", init_checkpoint_sha256="start")

    configs = [worsening(), worsening(within=0.01), worsening(Scheme()), replace(worsening(), worsening=None)]
    assert len({key(config) for config in configs}) == len(configs)
    for config in configs:
        again = TrialConfig.from_dict(config.to_dict())
        assert again == config and key(again) == key(config)
    assert "worsening" not in tiny_trial().identity()
    with pytest.raises(UsageError, match="within must be above 0"):
        Worsening(scheme=W2, within=0)
