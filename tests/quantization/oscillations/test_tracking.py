"""How often codes turn around: the tracker against a plain loop over weights, and what a trial records of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.trials import (
    FLOAT,
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tests.references.oscillations import Weight
from tune_qat import Scheme
from tune_qat.config import EpochResult, LayerResult
from tune_qat.quantization.model import calibrate, quantize, quantized_layers
from tune_qat.quantization.oscillations.tracking import (
    HELD,
    MOMENTUM,
    OSCILLATING,
    SAMPLE,
    Tracker,
    Watched,
    stride,
)
from tune_qat.quantizers.frozen import advance

ROUNDINGS = 1e-6  # float32 beside double precision, some dozens of steps
VECTOR = [0, 1, 0, 1, 0, 1, 1, 1]
"""The specification's: it starts at 0, and oscillates at the third, fourth and fifth step."""


def walks(weights: int, steps: int, seed: int = 0) -> torch.Tensor:
    """Codes that stay, go on and turn around; shape (steps, weights)."""
    draw = torch.Generator().manual_seed(seed)
    moves = torch.randint(-1, 2, (steps, weights), generator=draw)
    restless = torch.rand(weights, generator=draw) < 0.5
    return (moves * restless).cumsum(0).clamp(-8, 7).float()


def weights_of(result: EpochResult) -> list[LayerResult]:
    return [layer for layer in result.layers if layer.kind == "weight"]


class TestAdvance:
    def test_the_hand_vector(self) -> None:
        previous, direction, frequency = torch.zeros(3, 1)
        found = []
        for code in VECTOR:
            advance(torch.tensor([float(code)]), previous, direction, frequency, 0.1)
            found.append(float(frequency))
        assert found == pytest.approx([0, 0, 0.1, 0.19, 0.271, 0.3439, 0.30951, 0.278559], abs=ROUNDINGS)

    @pytest.mark.parametrize("kind", [torch.float32, torch.int8])
    def test_equals_the_plain_loop(self, kind: torch.dtype) -> None:
        codes = walks(40, 120).to(kind)
        previous, direction, frequency = codes[0].clone(), torch.zeros(40, dtype=kind), torch.zeros(40)
        twins = [Weight(start=int(code), momentum=0.05) for code in codes[0]]
        for code in codes[1:]:
            advance(code, previous, direction, frequency, 0.05)
            for twin, one in zip(twins, code.tolist(), strict=True):
                twin.step(int(one), threshold=float("inf"))
        assert frequency.tolist() == pytest.approx([twin.frequency for twin in twins], abs=ROUNDINGS)
        assert direction.tolist() == [twin.direction for twin in twins]
        assert frequency.min() == 0 and frequency.max() > 0.1

    def test_going_on_in_one_direction_and_staying_are_no_oscillations(self) -> None:
        previous, direction, frequency = torch.zeros(3, 1)
        for code in (0, 1, 1, 2, 5, 5, 6):
            advance(torch.tensor([float(code)]), previous, direction, frequency, 0.1)
        assert float(frequency) == 0
        advance(torch.tensor([2.0]), previous, direction, frequency, 0.1)
        assert float(frequency) == pytest.approx(0.1)


class TestTracker:
    def test_is_the_loop_over_its_layers_however_many_steps_are_held(self) -> None:
        weights = [torch.zeros(5), torch.zeros(2, 3)]
        codes = walks(11, HELD + 5)
        tracker = Tracker(codes[0], weights)
        twins = [Weight(start=int(code), momentum=MOMENTUM) for code in codes[0]]
        for number, code in enumerate(codes[1:]):
            tracker.observe(code)
            if number == 3:
                tracker.columns()  # reading in between changes nothing
            for twin, one in zip(twins, code.tolist(), strict=True):
                twin.step(int(one), threshold=float("inf"))
        for found, part in zip(tracker.columns(), (twins[:5], twins[5:]), strict=True):
            frequencies = [twin.frequency for twin in part]
            assert found["oscillation_frequency"] == pytest.approx(sum(frequencies) / len(part), abs=ROUNDINGS)
            share = sum(frequency > OSCILLATING for frequency in frequencies) / len(part)
            assert found["oscillating_fraction"] == pytest.approx(share) and 0 < share < 1

    def test_goes_on_from_its_state(self) -> None:
        codes, weights = walks(11, 2 * HELD + 3), [torch.zeros(11)]
        whole, other = Tracker(codes[0].clone(), weights), Tracker(codes[0].clone(), weights)
        for code in codes[1:9]:
            whole.observe(code)
        state = copy.deepcopy(whole.state_dict())
        other.load_state_dict(state)
        for code in codes[9:]:
            whole.observe(code)
            other.observe(code)
        assert whole.columns() == other.columns()
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in whole.state_dict().items())

    @pytest.mark.parametrize("numel", [1, 9, SAMPLE, SAMPLE + 1, 2_400, 48_000, 2_359_296])
    def test_a_sample_is_spread_over_the_layer(self, numel: int) -> None:
        every = stride(numel)
        followed = -(-numel // every)
        assert followed <= SAMPLE and (followed == numel or followed > SAMPLE / 4)
        # Each tap of a 3 x 3 filter and each of 16 channels has its share, to within a weight or two.
        for size in (9, 16):
            if numel > SAMPLE and numel % size == 0:
                counts = torch.bincount(torch.arange(0, numel, every) % size, minlength=size)
                assert counts.max() - counts.min() <= 1


def watched_network(scheme: Scheme) -> tuple[Watched, torch.Tensor]:
    """A convolution with more weights than are followed, and a linear layer with fewer."""
    torch.manual_seed(0)
    batch = torch.randn(4, 8, 6, 6)
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))
    quantized = quantize(model, scheme, batch[:1])
    calibrate(quantized, batch)
    return Watched(quantized), batch


class TestWatched:
    @pytest.mark.parametrize(
        "scheme",
        [Scheme(), Scheme(quantizer="ttq", weight_bits=2, activation_bits=32, first_last_bits=2)],
        ids=["lsq", "ttq"],
    )
    def test_gives_the_codes_that_the_pass_used(self, scheme: Scheme) -> None:
        watched, batch = watched_network(scheme)
        expected = []
        for quantizer, layer in watched._layers:
            weight = layer.layer.weight
            code = quantizer(weight).code.detach()
            signs = code.unflatten(0, (-1, 2)).sum(1) if len(code) == 2 * len(weight) else code
            expected.append(signs.flatten()[:: stride(weight.numel())])
        output, codes = watched.train()(batch)
        assert codes is not None and torch.equal(codes, torch.cat(expected)) and not codes.requires_grad
        assert len(codes.unique()) > 2
        assert torch.equal(output, watched.model(batch))

    def test_keeps_no_tensor_of_the_pass(self) -> None:
        watched, batch = watched_network(Scheme())
        watched.train()(batch)
        assert all(not quantizer.seen for quantizer, _ in watched._layers)

    def test_nothing_is_seen_outside_of_training(self) -> None:
        watched, batch = watched_network(Scheme())
        watched.eval()
        watched.model(batch)
        calibrate(watched.train().model, batch)
        assert all(not quantizer.seen for quantizer, _ in watched._layers)

    def test_a_layer_that_was_not_reached_is_where_it_is(self) -> None:
        watched, batch = watched_network(Scheme())
        _, codes = watched.train()(batch)
        assert codes is not None and torch.equal(watched.codes(), codes)


class TestRecord:
    def test_every_layers_weights_have_a_frequency_and_inputs_have_none(self) -> None:
        for result in results_of(tiny_trial()):
            for layer in result.layers:
                known = (layer.oscillation_frequency, layer.oscillating_fraction)
                if layer.kind == "weight":
                    assert all(value is not None and 0 <= value <= 1 for value in known)
                else:
                    assert known == (None, None)
                assert layer.frozen_fraction is None
        assert any(layer.oscillation_frequency for layer in weights_of(result))

    def test_is_that_of_the_codes_of_every_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = training_of(tiny_trial(learning_rate=3e-3))
        layers = quantized_layers(training.model)
        twins: list[list[Weight]] = []
        observe = training._step.oscillations.observe

        def seen(codes: Any, progress: float) -> None:
            for number, layer in enumerate(layers):
                assert layer.weight_quantizer is not None
                used = layer.weight_quantizer(layer.layer.weight).code.detach().flatten()
                used = used[:: stride(used.numel())]
                if len(twins) == number:  # the first pass is before the first step
                    twins.append([Weight(start=int(code), momentum=MOMENTUM) for code in used])
                for twin, code in zip(twins[number], used.tolist(), strict=True):
                    twin.step(int(code), threshold=float("inf"))
            observe(codes, progress)

        monkeypatch.setattr(training._step.oscillations, "observe", seen)
        last = list(training.epochs())[-1]
        for layer, part in zip(weights_of(last), twins, strict=True):
            mean = sum(twin.frequency for twin in part) / len(part)
            assert layer.oscillation_frequency == pytest.approx(mean, abs=ROUNDINGS) and mean > 0

    def test_the_control_has_none(self) -> None:
        training = training_of(tiny_trial(scheme=FLOAT))
        assert list(training.epochs())[-1].layers == ()
        assert training.state_dict()["oscillations"] == {}

    def test_quantized_inputs_alone_have_none(self) -> None:
        (*_, last) = results_of(tiny_trial(scheme=Scheme(weight_bits=32)))
        assert last.layers and not weights_of(last)

    def test_evaluations_and_statistics_of_batch_norm_are_not_counted(self) -> None:
        plain, other = (
            training_of(tiny_trial(model="lenet5_bn", bn_reestimation_batches=batches)) for batches in (0, 3)
        )
        for ours, theirs in zip(plain.epochs(), other.epochs(), strict=True):
            found = [[layer.oscillation_frequency for layer in weights_of(result)] for result in (ours, theirs)]
            assert found[0] == found[1]

    def test_goes_on_bit_for_bit(self, tmp_path: Path) -> None:
        config = tiny_trial(epochs=3, learning_rate=3e-3)
        results, training = resumed_every_epoch(config, tmp_path)
        whole = training_of(config)
        assert_same_curve(results, list(whole.epochs()))
        assert_same_state(training.model, whole.model)
        ours, theirs = (one.state_dict()["oscillations"] for one in (training, whole))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items()) and ours["frequency"].max() > 0


@pytest.mark.slow  # to compile, where nobody has
@pytest.mark.xdist_group("inductor")
def test_a_compiled_pass_gives_the_codes_of_an_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    eager, fast = (
        training_of(tiny_trial(batch_size=96, epochs=1), backend=backend) for backend in ("eager", "inductor")
    )
    seen: list[torch.Tensor] = []
    for training in (eager, fast):
        monkeypatch.setattr(training._step.oscillations, "observe", lambda codes, _: seen.append(codes.clone()))
        next(training.epochs())
        assert training.backend == ("eager" if training is eager else "inductor")
    assert torch.equal(*seen) and len(seen[0]) > SAMPLE
