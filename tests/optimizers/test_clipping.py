"""Clipping against torch's own and a plain loop, and what it reports."""

import pytest
import torch
from torch import nn

from tests.conformance.optimizers import W4A4, Problem
from tests.references import clipping as reference
from tune_qat.config import TrialConfig
from tune_qat.optimizers.clipping import adaptive, global_norm


def problem(optimizer: str, **options: float) -> Problem:
    config = TrialConfig(
        model="lenet5",
        dataset="digits",
        scheme=W4A4,
        optimizer=optimizer,
        learning_rate=0.1,
        optimizer_options=options,
        batch_size=16,
        epochs=1,
    )
    result = Problem(config)
    result.backward()
    return result


def gradients(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]


def with_gradient(weight: torch.Tensor, gradient: torch.Tensor) -> nn.Parameter:
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    return parameter


@pytest.mark.parametrize(("optimizer", "limit"), [("sgd_clip", "max_norm"), ("sgd_agc", "clip_factor")])
def test_clipping_says_always_and_never(optimizer: str, limit: str) -> None:
    always, never = problem(optimizer, **{limit: 1e-6}), problem(optimizer, **{limit: 1e6})
    before = gradients(never.groups.all)
    for _ in range(5):
        assert always.clip is not None and never.clip is not None
        always.backward(), never.backward()
        assert always.clip() == 1.0 and never.clip() == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(never.groups.all), strict=True))


class TestGlobalNorm:
    def test_is_torchs_over_all_parameters(self) -> None:
        clipped, plain = problem("sgd_clip", max_norm=0.1), problem("sgd")
        norm = nn.utils.clip_grad_norm_(plain.model.parameters(), 0.1)
        assert norm > 0.1
        assert clipped.clip is not None and clipped.clip() == 1.0
        for got, expected in zip(gradients(clipped.groups.all), gradients(plain.groups.all), strict=True):
            # The norm adds up in another order of parameters: double precision.
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
        assert len(gradients(clipped.groups.quantizer)) == 6, "quantizers are in the norm"

    def test_by_hand(self) -> None:
        parameter = with_gradient(torch.zeros(2), torch.tensor([3.0, 4.0]))
        assert global_norm([parameter], [], max_norm=2.5) == 1.0
        # Halved, but for the 1e-6 that torch adds to the norm.
        torch.testing.assert_close(parameter.grad, torch.tensor([1.5, 2.0]), rtol=1e-6, atol=0)
        assert global_norm([parameter], [], max_norm=2.6) == 0.0


class TestAdaptive:
    @pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 3), (1, 6), (6, 1)])
    @pytest.mark.parametrize("clip_factor", [0.001, 0.01, 0.3])
    def test_equals_the_plain_loop(self, shape: tuple[int, ...], clip_factor: float) -> None:
        generator = torch.Generator().manual_seed(len(shape))
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        scales = torch.logspace(-4, 1, shape[0], dtype=torch.float64).reshape(-1, *(1,) * (len(shape) - 1))
        gradient = torch.randn(shape, generator=generator, dtype=torch.float64) * scales
        weight[0] = 0  # limited as if its norm were 1e-3
        expected = reference.adaptive(weight, gradient, clip_factor)
        parameter = with_gradient(weight, gradient)
        changed = adaptive([parameter], [parameter], clip_factor=clip_factor)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-12, atol=0)  # double precision
        assert bool(changed) == (not torch.equal(expected, gradient))

    def test_reaches_weights_but_the_last_layers(self) -> None:
        clipped, plain = problem("sgd_agc", clip_factor=1e-3), problem("sgd")
        assert clipped.clip is not None and clipped.clip() == 1.0
        *weights, last = clipped.groups.weights
        *plain_weights, plain_last = plain.groups.weights
        assert last is clipped.groups.last_weight and last.shape == (3, 8)
        for weight, other in zip(weights, plain_weights, strict=True):
            assert weight.grad is not None and other.grad is not None
            expected = reference.adaptive(other.detach(), other.grad, 1e-3)
            assert not torch.equal(expected, other.grad)
            torch.testing.assert_close(weight.grad, expected, rtol=1e-12, atol=0)  # double precision
        untouched = [last, *clipped.groups.others, *clipped.groups.quantizer]
        as_before = [plain_last, *plain.groups.others, *plain.groups.quantizer]
        for got, expected in zip(gradients(untouched), gradients(as_before), strict=True):
            assert torch.equal(got, expected)

    def test_notices_a_small_layer_beside_a_large_one(self) -> None:
        # In float32 the second gradient is too small to show in the norm of both.
        large = with_gradient(torch.full((1, 2), 1e9), torch.full((1, 2), 1e6))
        small = with_gradient(torch.full((1, 2), 1.0), torch.full((1, 2), 0.5))
        assert adaptive([large, small], [large, small], clip_factor=0.01) == 1.0

    def test_of_no_weights(self) -> None:
        parameter = with_gradient(torch.zeros(2), torch.ones(2))
        assert adaptive([parameter], [], clip_factor=0.01) == 0.0
        assert parameter.grad is not None and parameter.grad.tolist() == [1, 1]
