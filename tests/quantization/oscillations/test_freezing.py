"""Weights that are held at a code: the plain loop, gradients, and a trial that goes on from a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.trials import (
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tests.quantization.oscillations.test_tracking import ROUNDINGS, VECTOR, walks, weights_of
from tests.references.oscillations import Weight, annealed
from tune_qat import Scheme
from tune_qat.config import FLOAT_BITS, Dampening, Freezing, UsageError
from tune_qat.quantization.model import quantized_layers
from tune_qat.quantization.oscillations.freezing import threshold
from tune_qat.quantizers import QUANTIZERS, scheme_of
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.dsq import DSQ
from tune_qat.quantizers.frozen import FrozenCodes
from tune_qat.quantizers.lsq import LSQ, gradient_scale

OFTEN = Freezing(threshold_start=0.03, threshold_end=0.02)
"""Freezes a good part of the weights in some dozens of steps."""
RESTLESS: dict[str, Any] = {"epochs": 6, "learning_rate": 3e-3, "scheme": Scheme(weight_bits=3, activation_bits=4)}


def one_step(frozen: FrozenCodes, latent: torch.Tensor, momentum: float, limit: float) -> torch.Tensor:
    """Codes of a forward pass, which is then taken in."""
    used = frozen(Codes(latent, torch.tensor(0.5)), None).code
    frozen.observe(used, momentum, limit)
    return used


class TestFrozenCodes:
    def test_the_hand_vector(self) -> None:
        frozen, used, frequencies = FrozenCodes(torch.zeros(1)), [], []
        for number, integer in enumerate(VECTOR):
            used.append(int(one_step(frozen, torch.tensor([float(integer)]), 0.1, 0.25)))
            frequencies.append(float(frozen.frequency))
            assert bool(frozen.mask) == (number >= 4)
        assert used == [0, 1, 0, 1, 0, 0, 0, 0]
        assert frequencies == pytest.approx([0, 0, 0.1, 0.19, 0.271, 0.2439, 0.21951, 0.197559], abs=ROUNDINGS)

    @pytest.mark.parametrize("limit", [0.06, 0.2])
    def test_equals_the_plain_loop(self, limit: float) -> None:
        codes = walks(60, 150, seed=1)
        frozen = FrozenCodes(codes[0])
        twins = [Weight(start=int(code), momentum=0.05) for code in codes[0]]
        for number, code in enumerate(codes[1:]):
            # Off at first: frequencies and averages go on, and nothing is frozen.
            now = limit if number >= 40 else float("inf")
            expected = [twin.step(int(one), now) for twin, one in zip(twins, code.tolist(), strict=True)]
            assert one_step(frozen, code, 0.05, now).tolist() == expected
        assert frozen.frequency.tolist() == pytest.approx([twin.frequency for twin in twins], abs=ROUNDINGS)
        assert frozen.average.tolist() == pytest.approx([twin.average for twin in twins], abs=1e-5)  # sizes up to 8
        held = [twin.frozen_at is not None for twin in twins]
        assert frozen.mask.tolist() == held and 0 < sum(held) < 60

    def test_a_frozen_weight_stays_so(self) -> None:
        frozen = FrozenCodes(torch.zeros(1))
        for integer in (*VECTOR, *[3] * 500):
            one_step(frozen, torch.tensor([float(integer)]), 0.1, 0.25)
        assert bool(frozen.mask) and int(frozen.code) == 0 and float(frozen.frequency) < 1e-6


def held(quantizer: Quantizer, weight: torch.Tensor) -> FrozenCodes:
    """Every second weight of a quantizer, at codes that are none of theirs."""
    quantizer.calibrate(weight.detach())
    code = quantizer(weight).code.detach()
    quantizer.frozen = FrozenCodes(code)
    quantizer.frozen.mask.flatten()[::2] = True
    quantizer.frozen.code.copy_((code + 1).clamp(max=quantizer.qmax))
    return quantizer.frozen


class TestGradients:
    """Of a loss with gradient g by each dequantized weight, with integers that are constants where frozen."""

    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    g = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))

    def back(self, quantizer: Quantizer, weight: nn.Parameter) -> torch.Tensor:
        codes = quantizer(weight)
        codes.code.backward(self.g * codes.scale)
        assert weight.grad is not None
        return weight.grad

    @pytest.mark.parametrize("per_channel", [False, True])
    def test_lsq(self, per_channel: bool) -> None:
        weight = nn.Parameter(self.weight.clone())
        quantizer = LSQ(
            bits=3, kind="weight", name="l", ste="clip_then_round", shape=weight.shape, per_channel=per_channel
        )
        frozen = held(quantizer, weight)
        with torch.no_grad():
            quantizer.step.mul_(0.2)  # so that some are outside of the range
        by_weight = self.back(quantizer, weight)
        mask, integer = frozen.mask, frozen.code.float()
        ratio = (weight / quantizer.step).detach()
        inside = (ratio > quantizer.qmin) & (ratio < quantizer.qmax)
        assert (mask & inside).any() and (mask & ~inside).any() and (~mask & ~inside).any()
        # Times the step and divided by it: two roundings.
        torch.testing.assert_close(by_weight, torch.where(mask | ~inside, 0.0, self.g), rtol=1e-6, atol=0)
        free = torch.where(inside, ratio.round() - ratio, ratio.round().clamp(quantizer.qmin, quantizer.qmax))
        scale = gradient_scale(5 if per_channel else 30, quantizer.qmax)
        # d(s k) / ds = k for a frozen integer k.
        expected = (self.g * torch.where(mask, integer, free) * scale).sum_to_size(quantizer.step.shape)
        assert quantizer.step.grad is not None
        torch.testing.assert_close(quantizer.step.grad, expected, rtol=1e-5, atol=1e-6)  # sums of 30 in float32

    def test_dsq(self) -> None:
        weight = nn.Parameter(self.weight.clone())
        quantizer = DSQ(bits=3, kind="weight", name="l")
        frozen = held(quantizer, weight)
        frozen.mask.fill_(True)
        assert torch.equal(self.back(quantizer, weight), torch.zeros(6, 5))
        part = frozen.code.float() / quantizer.qmax  # value = lower + part (upper - lower)
        for parameter, expected in ((quantizer.lower, self.g * (1 - part)), (quantizer.upper, self.g * part)):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, expected.sum(), rtol=1e-5, atol=1e-5)

    def test_the_code_is_held_whatever_the_scale(self) -> None:
        weight = nn.Parameter(self.weight.clone())
        quantizer = LSQ(bits=3, kind="weight", name="l", ste="clip_then_round")
        frozen = held(quantizer, weight)
        for step in (0.01, 0.3, 7.0):
            with torch.no_grad():
                quantizer.step.fill_(step)
            codes = quantizer(weight)
            assert torch.equal(codes.code[frozen.mask], frozen.code[frozen.mask].float())
            assert torch.equal(codes.value[frozen.mask], frozen.code[frozen.mask] * quantizer.step.detach())
            free = weight[~frozen.mask].div(quantizer.step).clamp(quantizer.qmin, quantizer.qmax).round()
            assert torch.equal(codes.code[~frozen.mask], free)


class TestSchedule:
    def test_off_for_a_quarter_and_then_a_cosine(self) -> None:
        config = Freezing(threshold_start=0.1, threshold_end=0.02)
        for step in range(80):
            expected = float("inf") if step < 20 else annealed(0.1, 0.02, step, 80)
            assert threshold(config, step / 80) == pytest.approx(expected, rel=1e-12)
        assert threshold(config, 0.25) == 0.1 and threshold(config, 1.0) == pytest.approx(0.02)


def freezable() -> list[Scheme]:
    found = []
    for name, spec in QUANTIZERS.items():
        bits = [bits for bits in (3, 2) if bits in spec.weights.bits]
        if bits and spec.freezes:
            activations = FLOAT_BITS if spec.activations is None else bits[0]
            found.append(scheme_of(quantizer=name, weight_bits=bits[0], activation_bits=activations))
    return found


class TestTrial:
    @pytest.mark.parametrize("scheme", freezable(), ids=lambda scheme: scheme.quantizer)
    def test_a_frozen_weight_has_its_integer_in_every_later_pass(self, scheme: Scheme) -> None:
        training = training_of(tiny_trial(**{**RESTLESS, "scheme": scheme}, model="lenet5_bn", freezing=OFTEN))
        known: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for result in training.epochs():
            shares = {row.layer: row.frozen_fraction for row in weights_of(result)}
            for layer in quantized_layers(training.model):
                quantizer = layer.weight_quantizer
                if quantizer is None or quantizer.frozen is None:
                    assert shares.get(layer.name) is None
                    continue
                assert shares[layer.name] == pytest.approx(float(quantizer.frozen.mask.double().mean()))
                code = quantizer(layer.layer.weight).code.detach()
                mask, integers = known.get(layer.name, (quantizer.frozen.mask, code))
                assert torch.equal(code[mask], integers[mask]), "what was frozen is as it was"
                known[layer.name] = (quantizer.frozen.mask.clone(), code)
        assert sum(int(mask.sum()) for mask, _ in known.values()) > 0

    def test_only_weights_of_four_bits_or_less(self) -> None:
        (*_, last) = results_of(tiny_trial(**RESTLESS, freezing=OFTEN))
        rows = weights_of(last)
        assert [row.frozen_fraction is None for row in rows] == [row.bits > 4 for row in rows]
        assert {row.bits for row in rows} == {3, 8}

    def test_the_first_quarter_is_that_of_a_trial_without(self) -> None:
        config = {**RESTLESS, "epochs": 8}
        plain, frozen = results_of(tiny_trial(**config)), results_of(tiny_trial(**config, freezing=OFTEN))
        assert [result.train_loss for result in plain[:2]] == [result.train_loss for result in frozen[:2]]
        assert all(row.frozen_fraction in (0, None) for result in frozen[:2] for row in weights_of(result))
        assert plain[-1].train_loss != frozen[-1].train_loss

    @pytest.mark.parametrize("dampening", [None, Dampening(weight=0.01)], ids=["freezing", "with dampening"])
    def test_goes_on_bit_for_bit(self, tmp_path: Path, dampening: Dampening | None) -> None:
        config = tiny_trial(**RESTLESS, freezing=OFTEN, dampening=dampening)
        results, training = resumed_every_epoch(config, tmp_path)
        whole = training_of(config)
        curve = list(whole.epochs())
        assert_same_curve(results, curve)
        assert_same_state(training.model, whole.model)
        frozen = [row.frozen_fraction or 0 for row in weights_of(curve[3])]
        assert sum(frozen) > 0, "there was something to go on from"
        names = [name for name in whole.model.state_dict() if ".frozen." in name]
        assert {name.rpartition(".")[2] for name in names} == {
            *("code", "mask", "previous", "direction", "frequency", "average")
        }

    @pytest.mark.slow  # to compile, where nobody has
    @pytest.mark.xdist_group("inductor")
    def test_a_compiled_trial_freezes_as_an_eager_one(self) -> None:
        # A step on all samples: the passes of both have the same codes, and those of frozen weights are in place.
        found: list[tuple[float | None, torch.Tensor | None]] = []
        for backend in ("eager", "inductor"):
            config = tiny_trial(**{**RESTLESS, "epochs": 1}, batch_size=96, freezing=OFTEN)
            training = training_of(config, backend=backend)
            layers = [one for one in quantized_layers(training.model) if one.weight_quantizer.frozen]  # type: ignore[union-attr]
            for layer in layers:
                assert layer.weight_quantizer is not None and layer.weight_quantizer.frozen is not None
                layer.weight_quantizer.frozen.mask.flatten()[::3] = True
                layer.weight_quantizer.frozen.code.flatten()[:60] = 1  # not what their latent weights say
            result = next(training.epochs())
            assert training.backend == backend
            found.append((result.train_loss, dict(training.model.named_parameters())["conv2.layer.weight"].grad))
        (loss, _), (other, _) = found
        assert loss == pytest.approx(other, rel=1e-6)  # the mean over a batch, summed in another order
        for _, grad in found:
            assert grad is not None and not grad.flatten()[::3].any() and grad.any()


class TestRules:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"threshold_end": 0.2}, "threshold_end must be at most threshold_start"),
            ({"threshold_end": 0.019}, "must be at least twice momentum"),
            ({"threshold_start": 0.0}, "threshold_start must be above 0"),
            ({"momentum": 1.0}, "momentum must be above 0 and below 1"),
            ({"threshold_start": None}, "threshold_start must be a finite number"),
        ],
        ids=str,
    )
    def test_thresholds(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Freezing(**{"threshold_start": 0.1, "threshold_end": 0.02, **values})

    @pytest.mark.parametrize(
        "scheme",
        [
            scheme_of(quantizer="ttq", weight_bits=2, activation_bits=32),
            scheme_of(quantizer="xnor", weight_bits=1, activation_bits=1),
            scheme_of(quantizer="dorefa", weight_bits=1, activation_bits=4),
        ],
        ids=lambda scheme: f"{scheme.quantizer}-{scheme.label}",
    )
    def test_weights_without_a_grid_are_refused_before_training(self, scheme: Scheme) -> None:
        with pytest.raises(UsageError, match=f"Weights of quantizer '{scheme.quantizer}' .* cannot be frozen"):
            training_of(tiny_trial(scheme=scheme, model="lenet5_xnor", freezing=OFTEN))

    @pytest.mark.parametrize("scheme", [Scheme.floating_point(), Scheme(weight_bits=32)], ids=["32/32", "32/4"])
    def test_it_is_not_used_where_weights_are_not_quantized(self, scheme: Scheme) -> None:
        plain, frozen = (results_of(tiny_trial(scheme=scheme, freezing=freezing)) for freezing in (None, OFTEN))
        assert_same_curve(plain, frozen)
