"""One trial: what it trains on, how its gradients and rates are used, and what it reports."""

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from tests.helpers.trials import (
    FLOAT,
    PHOTOS,
    SAMPLES,
    TEST_FIELDS,
    assert_nothing_infinite,
    assert_same_curve,
    assert_same_state,
    results_of,
    steps_trained,
    tiny_trial,
    training_of,
    work_of,
)
from tune_qat import Scheme, optimizers, train
from tune_qat.config import EpochResult, TrialConfig, UsageError
from tune_qat.quantization.model import quantized_layers
from tune_qat.quantizers.lsq import STEP_MIN
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload

ONE_STEP = {"batch_size": SAMPLES, "epochs": 1, "schedule": "constant"}


class Dropping(Workload):
    """A model that draws random numbers while it trains, and keeps running statistics."""

    def build_model(self, init_seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            return nn.Sequential(
                nn.Conv2d(1, 4, 5, stride=3),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Dropout(0.5),
                nn.Flatten(),
                nn.Linear(256, 10),
            )


def dropping() -> Dropping:
    return Dropping(model="dropping", dataset=work_of(tiny_trial()).dataset)


def rates_by_step(training: Training) -> list[list[float]]:
    """Learning rates of every group at every optimizer step from now on."""
    rates: list[list[float]] = []
    assert isinstance(training.optimizer, torch.optim.Optimizer)
    training.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups])
    )
    list(training.epochs())
    return rates


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False))


class TestSeeds:
    @pytest.mark.parametrize("changes", [{}, PHOTOS], ids=["digits", "photos"])
    def test_the_same_seed_gives_the_same_curve(self, changes: dict[str, Any]) -> None:
        assert_same_curve(results_of(tiny_trial(**changes, seed=3)), results_of(tiny_trial(**changes, seed=3)))

    @pytest.mark.parametrize("changes", [{}, PHOTOS], ids=["digits", "photos"])
    def test_the_seed_changes_the_order_and_not_the_weights(self, changes: dict[str, Any]) -> None:
        ours, other = (training_of(tiny_trial(**changes, scheme=FLOAT, seed=seed)) for seed in (0, 1))
        assert_same_state(ours.model, other.model)
        batches = [steps_trained(training) for training in (ours, other)]
        curves = [list(training.epochs()) for training in (ours, other)]
        assert batches[0] != batches[1]
        assert curves[0][-1].train_loss != curves[1][-1].train_loss

    def test_the_initial_seed_changes_the_weights_and_not_the_order(self) -> None:
        ours, other = (training_of(tiny_trial(scheme=FLOAT, init_seed=seed)) for seed in (0, 1))
        starts = [parameters_to_vector(training.model.parameters()) for training in (ours, other)]
        assert not torch.equal(*starts)
        batches = [steps_trained(training) for training in (ours, other)]
        for training in (ours, other):
            list(training.epochs())
        assert batches[0] == batches[1]

    def test_every_epoch_has_an_order_of_its_own_and_no_sample_twice(self) -> None:
        training = training_of(tiny_trial(epochs=3))
        batches = steps_trained(training)
        list(training.epochs())
        epochs = [sum(batches[start : start + 6], []) for start in (0, 6, 12)]
        assert all(sorted(epoch) == list(range(SAMPLES)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 3

    def test_no_epoch_of_a_seed_has_the_order_of_one_of_another_seed(self) -> None:
        orders = []
        for seed in range(3):
            batches = steps_trained(training := training_of(tiny_trial(epochs=3, seed=seed)))
            list(training.epochs())
            orders += [tuple(sum(batches[start : start + 6], [])) for start in (0, 6, 12)]
        assert len(set(orders)) == 9

    def test_torchs_global_state_is_neither_used_nor_changed(self) -> None:
        curves = []
        for state in (1, 2):
            torch.manual_seed(state)
            np.random.seed(state)
            random.seed(state)
            before = torch.get_rng_state(), _numpy_state(), random.getstate()
            curves.append(results_of(tiny_trial(), work=dropping()))
            assert torch.equal(torch.get_rng_state(), before[0])
            assert _numpy_state() == before[1]
            assert random.getstate() == before[2]
        assert_same_curve(*curves)

    def test_what_layers_draw_follows_the_seed(self) -> None:
        # One step of one batch that holds every sample: seeds cannot differ in order or batch, but in dropout.
        first, second = (results_of(tiny_trial(**ONE_STEP, seed=seed), work=dropping())[0] for seed in (0, 1))
        assert abs(first.train_loss - second.train_loss) > 1e-4  # type: ignore[operator]  # far above rounding

    def test_what_layers_draw_is_new_at_every_step_of_every_epoch(self) -> None:
        def draws() -> list[float]:
            training, drawn = training_of(tiny_trial(epochs=3)), []
            # After each training pass a number from where dropout has its own.
            training.model.register_forward_hook(
                lambda model, *_: drawn.append(torch.rand(()).item()) if model.training else None
            )
            list(training.epochs())
            return drawn

        first = draws()
        assert len(set(first)) == len(first) == 3 * 6
        assert draws() == first


class TestBatches:
    def test_a_smaller_last_batch_is_left_out(self) -> None:
        training = training_of(tiny_trial(batch_size=40))
        batches = steps_trained(training)
        results = list(training.epochs())
        assert [len(batch) for batch in batches] == [40] * 4  # 96 // 40 = 2 steps in each of 2 epochs
        assert [(result.step, result.examples) for result in results] == [(2, 80), (4, 160)]

    def test_a_batch_larger_than_an_epoch_is_refused(self) -> None:
        assert results_of(tiny_trial(**ONE_STEP))[0].step == 1
        with pytest.raises(UsageError, match="Batch size 97 is larger than one epoch of 'digits' .96 samples"):
            training_of(tiny_trial(batch_size=97))

    def test_calibration_sees_the_first_batch_that_is_trained_on(self) -> None:
        config = tiny_trial()
        training = training_of(config)
        batches = steps_trained(training)
        list(training.epochs())
        images, _ = training_of(config).task.batch(config.seed, 1, torch.tensor(batches[0]))
        step = 2 * images.abs().mean() / math.sqrt(2**7 - 1)  # LSQ section 2.1, the first input is signed at 8 bits
        first = quantized_layers(training_of(config).model)[0].input_quantizer
        assert first is not None and first.step_init == pytest.approx(step.item(), rel=1e-6)  # float32


class TestPlainTwin:
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_sgd_is_the_loop_that_one_writes_by_hand(self, momentum: float) -> None:
        more = {"optimizer": "nesterov", "optimizer_options": {"momentum": momentum}} if momentum else {}
        config = tiny_trial(
            **{**PHOTOS, "scheme": FLOAT, "optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant", **more}
        )
        training = training_of(config)
        batches = steps_trained(training)
        list(training.epochs())

        work = work_of(config)
        model, task = work.build_model(config.init_seed), work.task()
        velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
        for step, index in enumerate(batches):
            inputs, targets = task.batch(config.seed, 1 + step // (len(batches) // 2), torch.tensor(index))
            loss = (model(inputs) - targets).square().mean()
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient, state in zip(model.parameters(), gradients, velocity, strict=True):
                    state.mul_(momentum).add_(gradient)
                    update = gradient + momentum * state if momentum else gradient
                    parameter.sub_(config.learning_rate * update)
        for ours, twin in zip(training.model.parameters(), model.parameters(), strict=True):
            # Multiply and add are fused in torch's optimizer and not here: a rounding of 6e-8 in each of two steps.
            torch.testing.assert_close(ours, twin, rtol=1e-6, atol=1e-7)


class TestGradients:
    @pytest.mark.parametrize("scheme", [FLOAT, Scheme()], ids=["float", "w4a4"])
    @pytest.mark.parametrize("optimizer", ["adam", "sgd_clip"])
    def test_the_norm_is_that_of_all_gradients_before_clipping(self, scheme: Scheme, optimizer: str) -> None:
        config = tiny_trial(**ONE_STEP, scheme=scheme, optimizer=optimizer)
        twin = training_of(config)
        batches = steps_trained(training := training_of(config))
        result = next(training.epochs())
        twin.model.train()
        inputs, targets = twin.task.batch(config.seed, 1, torch.tensor(batches[0]))
        nn.functional.cross_entropy(twin.model(inputs), targets).backward()
        squares = [parameter.grad.double().square().sum() for parameter in twin.model.parameters()]  # type: ignore
        # float32 sums of 61,706 squares against float64
        assert result.grad_norm == pytest.approx(math.sqrt(sum(squares)), rel=1e-5)
        assert result.grad_norm_max == result.grad_norm

    @pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
    def test_the_clipped_share_is_known_where_an_optimizer_clips(self, name: str) -> None:
        option = {"sgd_clip": "max_norm", "sgd_agc": "clip_factor"}.get(name)
        if option is None:
            assert [result.clip_fraction for result in results_of(tiny_trial(optimizer=name, epochs=1))] == [None]
            return
        for limit, share in ((1e9, 0.0), (1e-9, 1.0)):
            results = results_of(tiny_trial(optimizer=name, optimizer_options={option: limit}))
            assert [result.clip_fraction for result in results] == [share, share]

    def test_clipping_that_never_acts_changes_nothing(self) -> None:
        config = tiny_trial(optimizer="sgd", learning_rate=0.1)
        same = tiny_trial(optimizer="sgd_clip", optimizer_options={"max_norm": 1e9}, learning_rate=0.1)
        for plain, clipped in zip(results_of(config), results_of(same), strict=True):
            assert plain.train_loss == clipped.train_loss and plain.val_loss == clipped.val_loss


class TestLearningRate:
    PEAK = 0.01

    def expected(self, schedule: str, step: int, warmup: int, total: int) -> float:
        if step < warmup:
            return self.PEAK * (step + 1) / warmup
        progress = (step - warmup) / (total - warmup)
        factors = {
            "cosine": (1 + math.cos(math.pi * progress)) / 2,
            "step": 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01,
            "constant": 1.0,
        }
        return self.PEAK * factors[schedule]

    @pytest.mark.parametrize(("warmup_epochs", "warmup"), [(0.0, 0), (0.5, 3), (1.0, 6)])
    @pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
    def test_follows_the_schedule_at_every_step(self, schedule: str, warmup_epochs: float, warmup: int) -> None:
        config = tiny_trial(schedule=schedule, warmup_epochs=warmup_epochs, learning_rate=self.PEAK, epochs=3)
        rates = rates_by_step(training_of(config))
        # 18 steps; the same formula written again, in doubles
        expected = [self.expected(schedule, step, warmup, 18) for step in range(18)]
        for group in zip(*rates, strict=True):
            assert list(group) == pytest.approx(expected, rel=1e-12)
        last_of_epochs = [result.learning_rate for result in results_of(config)]
        assert last_of_epochs == pytest.approx([expected[step] for step in (5, 11, 17)], rel=1e-12)

    def test_the_multiplier_scales_the_quantizers_and_nothing_else(self) -> None:
        config = tiny_trial(quantizer_lr_multiplier=0.125, learning_rate=self.PEAK, schedule="cosine")
        training = training_of(config)
        steps = {id(p) for name, p in training.model.named_parameters() if name.endswith("quantizer.step")}
        assert len(steps) == 10  # five layers, a weight and an input each
        groups = [{id(p) for p in group["params"]} for group in training.optimizer.param_groups]
        assert [group & steps for group in groups] == [set(), set(), steps]
        assert groups[2] == steps
        plain = rates_by_step(training_of(tiny_trial(learning_rate=self.PEAK)))
        for rates, without in zip(rates_by_step(training), plain, strict=True):
            # 0.125 is a power of two: exact
            assert rates == [without[0], without[1], without[2] * 0.125]

    def test_a_multiplier_of_zero_freezes_the_steps(self) -> None:
        result = results_of(tiny_trial(quantizer_lr_multiplier=0.0))[-1]
        assert all(layer.step_size == layer.step_size_init for layer in result.layers)
        moved = results_of(tiny_trial(quantizer_lr_multiplier=1.0))[-1]
        assert all(layer.step_size != layer.step_size_init for layer in moved.layers)


def test_steps_stay_positive_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lion moves every step by the rate: 1.0 takes each one past zero whenever its gradient is positive.
    training = training_of(tiny_trial(optimizer="lion", learning_rate=1e-4, quantizer_lr_multiplier=1e4))
    steps = [p for name, p in training.model.named_parameters() if name.endswith("quantizer.step")]
    lowest: list[float] = []
    before = training.optimizer.step

    def step(*args: Any) -> None:
        lowest.append(min(parameter.item() for parameter in steps))
        before(*args)

    monkeypatch.setattr(training.optimizer, "step", step)
    results = list(training.epochs())
    lowest.append(min(parameter.item() for parameter in steps))
    assert len(lowest) == training.step + 1
    assert min(lowest) == pytest.approx(STEP_MIN)  # the guard acted
    assert results[0].status in ("running", "diverged")


class TestResults:
    def test_one_for_every_epoch(self) -> None:
        results = results_of(tiny_trial(epochs=3))
        assert [(result.epoch, result.status) for result in results] == [
            (1, "running"),
            (2, "running"),
            (3, "completed"),
        ]
        assert [result.step for result in results] == [6, 12, 18]
        for result in results:
            assert_nothing_infinite(result)
            assert result.val_metric is not None and len(result.layers) == 10
        assert 0 < results[0].wall_s < results[1].wall_s < results[2].wall_s
        assert 0 < results[0].device_s < results[1].device_s < results[2].device_s

    def test_losses_are_means_over_the_epoch(self) -> None:
        training = training_of(tiny_trial(epochs=1))
        losses: list[float] = []
        measure = training.task.loss

        def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            value = measure(output, target)
            losses.append(value.item())
            return value

        training.task.loss = loss  # type: ignore[method-assign]
        result = next(training.epochs())
        assert len(losses) == 6
        assert result.train_loss == pytest.approx(sum(losses) / 6, rel=1e-12)  # both in doubles

    def test_validation_is_that_of_the_trained_model(self) -> None:
        training = training_of(tiny_trial(), work=dropping())
        result = list(training.epochs())[-1]
        training.model.eval()
        with torch.no_grad():
            again = training.task.evaluate(training.model, "val")
        assert (result.val_loss, result.val_metric, result.val_top5) == (again.loss, again.metric, again.top5)

    def test_training_helps(self) -> None:
        results = results_of(tiny_trial(epochs=12, learning_rate=3e-3))
        assert results[-1].val_metric > 0.6  # type: ignore[operator]  # chance is 0.1

    @pytest.mark.parametrize("changes", [{}, {**PHOTOS, "batch_size": 8}], ids=["digits", "photos"])
    def test_the_test_split_is_measured_at_the_end_and_only_if_asked(self, changes: dict[str, Any]) -> None:
        training = training_of(tiny_trial(**changes))
        *earlier, last = training.epochs(test=True)
        training.model.eval()
        with torch.no_grad():
            expected = training.task.evaluate(training.model, "test")
        assert (last.test_metric, last.test_loss, last.test_top5) == (expected.metric, expected.loss, expected.top5)
        assert (last.test_n, last.test_correct) == (expected.n, expected.correct)
        assert last.test_loss != last.val_loss
        for result in [*earlier, *results_of(tiny_trial(**changes))]:
            assert [getattr(result, name) for name in TEST_FIELDS] == [None] * len(TEST_FIELDS)
        # Looking at the test split changes nothing else.
        assert last.val_metric == results_of(tiny_trial(**changes))[-1].val_metric


class TestTrain:
    def results(self, config: TrialConfig, **more: Any) -> Iterator[EpochResult]:
        return train(config, device="cpu", **more)

    def test_is_a_generator_of_the_same_results(self) -> None:
        found = self.results(tiny_trial())
        assert isinstance(found, Iterator)
        assert_same_curve(list(found), results_of(tiny_trial()))

    def test_threads_are_those_asked_for_and_put_back(self) -> None:
        torch.set_num_threads(2)
        found = self.results(tiny_trial(), threads=3)
        assert torch.get_num_threads() == 2
        next(found)
        assert torch.get_num_threads() == 3
        list(found)
        assert torch.get_num_threads() == 2

    def test_threads_are_put_back_where_nobody_asks_for_the_end(self) -> None:
        torch.set_num_threads(2)
        found = self.results(tiny_trial(), threads=1)
        next(found)
        found.close()  # type: ignore[attr-defined]  # a generator
        assert torch.get_num_threads() == 2
        with pytest.raises(UsageError):
            next(self.results(tiny_trial(batch_size=97), threads=1))
        assert torch.get_num_threads() == 2

    def test_test_and_mistakes_get_through(self) -> None:
        assert list(self.results(tiny_trial(epochs=1), test=True))[0].test_n == 359
        for changes, text in (({"model": "lenet"}, "Unknown model"), ({"scheme": Scheme(weight_bits=1)}, "bits")):
            with pytest.raises(UsageError, match=text):
                next(self.results(tiny_trial(**changes)))


def test_weight_decay_has_the_factor_of_the_bit_width() -> None:
    for factor in (1.0, 0.25):
        training = training_of(tiny_trial(optimizer_options={"weight_decay": 0.1}, weight_decay_factor=factor))
        assert {group["weight_decay"] for group in training.optimizer.param_groups} == {0.0, 0.1 * factor}


def test_the_rate_falls_at_the_milestones() -> None:
    config = tiny_trial(epochs=4, schedule="step", milestones=(1, 3), decay=0.5, learning_rate=1e-3)
    assert [result.learning_rate for result in results_of(config)] == [1e-3, 5e-4, 5e-4, 2.5e-4]
