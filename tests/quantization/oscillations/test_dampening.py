"""The loss that pulls weights to the middles of their bins, and what it does not touch."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.trials import assert_same_curve, results_of, tiny_trial, training_of
from tests.references.oscillations import annealed, dampening
from tune_qat import Scheme
from tune_qat.config import Dampening, UsageError
from tune_qat.quantization.model import quantized_layers
from tune_qat.quantization.oscillations.annealing import annealed as ours
from tune_qat.quantization.oscillations.dampening import dampening_loss, penalty
from tune_qat.quantizers import QUANTIZERS, scheme_of
from tune_qat.quantizers.lsq import LSQ


def quantizer_of(weight: torch.Tensor, step: float, **options: Any) -> LSQ:
    quantizer = LSQ(bits=3, kind="weight", name="l", ste="clip_then_round", shape=weight.shape, **options)
    quantizer.calibrate(weight.detach())
    with torch.no_grad():
        quantizer.step.fill_(step)
    return quantizer


def quantized(weight: torch.Tensor, quantizer: LSQ) -> torch.Tensor:
    return dampening_loss(weight, quantizer(weight), quantizer.qmin, quantizer.qmax)


class TestLoss:
    @pytest.mark.parametrize("per_channel", [False, True])
    def test_equals_the_plain_loop_and_its_gradient_too(self, per_channel: bool) -> None:
        weight = nn.Parameter(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
        quantizer = quantizer_of(weight, 0.3, per_channel=per_channel)
        expected, gradient = dampening(weight.tolist(), 0.3, quantizer.qmin, quantizer.qmax)
        found = quantized(weight, quantizer)
        found.backward()
        assert float(found.detach()) == pytest.approx(expected, rel=1e-5)  # a sum of 30 in float32
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, torch.tensor(gradient), rtol=1e-5, atol=1e-6)
        outside = (weight.detach() / 0.3 < quantizer.qmin) | (weight.detach() / 0.3 > quantizer.qmax)
        assert outside.any() and not weight.grad[outside].any()
        assert quantizer.step.grad is None

    def test_kernels_are_summed_over_output_channels_and_averaged_over_the_rest(self) -> None:
        weight = torch.full((4, 3, 2, 2), 0.4)
        assert float(quantized(weight, quantizer_of(weight, 1.0))) == pytest.approx(4 * 0.16)

    def test_is_zero_in_the_middles_and_outside(self) -> None:
        weight = nn.Parameter(torch.tensor([[-9.0, -2.0, -0.5, 0.0, 0.5, 1.5, 9.0]]))
        loss = quantized(weight, quantizer_of(weight, 0.5))
        loss.backward()
        assert float(loss.detach()) == 0 and weight.grad is not None and not weight.grad.any()

    def test_a_frozen_weight_outside_of_the_range_pulls_at_nothing(self) -> None:
        weight = nn.Parameter(torch.tensor([[9.0, 0.2]]))
        quantizer = quantizer_of(weight, 0.5)
        codes = quantizer(weight)
        held = codes._replace(code=torch.tensor([[0.0, 0.0]]))
        dampening_loss(weight, held, quantizer.qmin, quantizer.qmax).backward()
        assert quantizer.step.grad is None and weight.grad is not None
        assert weight.grad.tolist() == [[0.0, pytest.approx(0.2)]]

    def test_counts_nothing(self) -> None:
        training = training_of(tiny_trial(dampening=Dampening(weight=1.0)))
        before = training.state_dict()["oscillations"]["frequency"].clone()
        penalty(training._step.oscillations._layers).backward()
        assert torch.equal(training.state_dict()["oscillations"]["frequency"], before)


def test_nothing_for_a_quarter_and_then_a_cosine() -> None:
    found = [ours(0.0, 0.1, step / 80) for step in range(81)]
    assert found == pytest.approx([annealed(0.0, 0.1, step, 80) for step in range(81)], abs=1e-12)
    assert found[:20] == [0.0] * 20 and found[80] == 0.1 and found == sorted(found)


class TestTrial:
    def test_the_loss_of_the_record_is_the_tasks(self) -> None:
        # So heavy that it would be seen; with a rate of next to nothing, weights stay where they are.
        config: dict[str, Any] = {"learning_rate": 1e-12, "epochs": 4}
        plain, heavy = (
            results_of(tiny_trial(**config)),
            results_of(tiny_trial(**config, dampening=Dampening(weight=1e6))),
        )
        assert [one.train_loss for one in heavy] == pytest.approx([one.train_loss for one in plain], rel=1e-5)
        norms = [[one.grad_norm or 0.0 for one in results] for results in (plain, heavy)]
        assert norms[0][0] == norms[1][0] and norms[1][-1] > 100 * norms[0][-1]

    def test_brings_weights_to_the_middles(self) -> None:
        def distance(**changes: Any) -> float:
            training = training_of(tiny_trial(epochs=8, learning_rate=1e-3, optimizer="sgd", **changes))
            list(training.epochs())
            layer = quantized_layers(training.model)[3]
            assert layer.weight_quantizer is not None
            codes = layer.weight_quantizer(layer.layer.weight)
            return float(((codes.value - layer.layer.weight) / codes.scale).abs().mean().detach())

        # Evenly spread over their bins weights are 0.25 steps away.
        assert distance() == pytest.approx(0.25, abs=0.05)
        assert distance(dampening=Dampening(weight=2e4)) < 0.1

    @pytest.mark.parametrize("name", [name for name, spec in QUANTIZERS.items() if spec.dampens])
    def test_of_every_method_that_rounds_weights_as_they_are(self, name: str) -> None:
        training = training_of(
            tiny_trial(scheme=scheme_of(quantizer=name, weight_bits=3, activation_bits=4), model="lenet5_bn", epochs=4)
        )
        for quantizer, layer in training._step.oscillations._layers:
            weight = layer.layer.weight
            codes = quantizer(weight)
            loss = dampening_loss(weight, codes, quantizer.qmin, quantizer.qmax)
            # At most half a step for each weight inside the range, and nothing for those outside.
            most = codes.scale.square().mean() / 4 * weight.shape[0]
            assert 0 < float(loss.detach()) <= float(most)

    @pytest.mark.parametrize("name", [name for name, spec in QUANTIZERS.items() if not spec.dampens])
    def test_other_methods_are_refused_before_training(self, name: str) -> None:
        bits = QUANTIZERS[name].weights.bits[-1]
        scheme = scheme_of(quantizer=name, weight_bits=bits, activation_bits=32)
        with pytest.raises(UsageError, match=f"Weights of quantizer '{name}' cannot be dampened"):
            training_of(tiny_trial(scheme=scheme, model="lenet5_bn", dampening=Dampening(weight=0.1)))

    def test_the_control_is_as_it_was(self) -> None:
        scheme = Scheme.floating_point()
        plain, other = (results_of(tiny_trial(scheme=scheme, dampening=one)) for one in (None, Dampening(weight=1.0)))
        assert_same_curve(plain, other)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), True])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(UsageError, match="dampening weight must be"):
        Dampening(weight=weight)
