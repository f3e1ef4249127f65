"""Which parameters optimizers treat as matrices, and what Muon, SOAP and MARS do to those and to the others."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.trials import tiny_trial
from tests.optimizers.trajectories import STEPS, assert_same_walk, of_table, walk
from tune_qat.config import Scheme
from tune_qat.optimizers import OPTIMIZERS, get_spec, schedule_free
from tune_qat.optimizers.further import muon, soap
from tune_qat.optimizers.joined import Joined
from tune_qat.quantization.model import calibrate, quantize
from tune_qat.training.parameter_groups import ParameterGroups, parameter_groups
from tune_qat.training.step import build_optimizer

PER_CHANNEL = Scheme(weight_bits=4, activation_bits=4, options={"per_channel": True})
"""Whose steps have as many dimensions as their filter."""


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 4, 1),
        nn.Flatten(),
        nn.Linear(4 * 16, 6),
        nn.Linear(6, 1),
        nn.Linear(1, 5),
        nn.Linear(5, 4),
    )


def stepped(name: str, steps: int = 2) -> tuple[nn.Module, ParameterGroups, torch.optim.Optimizer]:
    """A small quantized network after steps on random gradients."""
    torch.manual_seed(0)
    example = torch.randn(4, 2, 8, 8)
    model = quantize(network(), PER_CHANNEL, example[:1])
    calibrate(model, example)
    groups = parameter_groups(model)
    optimizer, _ = build_optimizer(tiny_trial(scheme=PER_CHANNEL, optimizer=name), groups)
    assert isinstance(optimizer, torch.optim.Optimizer)
    for _ in range(steps):
        for parameter in groups.all:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return model, groups, optimizer


def test_steps_for_each_channel_look_like_filters() -> None:
    _, groups, _ = stepped("sgd")
    assert {step.ndim for step in groups.quantizer} == {0, 2, 4}


def ends_of_steps(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Where a quantizer's steps of this shape are after updates by the table's optimizer; gradients are the same."""
    drawn = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = [nn.Parameter(drawn(6, 4)) for _ in range(3)]
    others, steps = [nn.Parameter(drawn(6))], nn.Parameter(drawn(6).abs().reshape(shape))
    groups = ParameterGroups(
        weights=weights,
        others=others,
        quantizer=[steps],
        decayed_quantizer=[],
        last_weight=weights[-1],
        transposed={},
    )
    config = tiny_trial(optimizer=name, learning_rate=get_spec(name).default_learning_rate)
    optimizer, clip = build_optimizer(config, groups)
    schedule_free.to_gradients(optimizer)
    for _ in range(12):
        for parameter in groups.all:
            parameter.grad = drawn(parameter.numel()).reshape(parameter.shape)
        if clip:
            clip()
        optimizer.step()
    return steps.detach().flatten()


@pytest.mark.parametrize("shape", [(6, 1), (6, 1, 1, 1)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_for_each_channel_move_as_a_vector(name: str, shape: tuple[int, ...]) -> None:
    # A quantizer's parameters are matrices for no optimizer. Double precision: norms add up in any order.
    torch.testing.assert_close(ends_of_steps(name, shape), ends_of_steps(name, (6,)), rtol=1e-12, atol=0)


def test_muon_orthogonalizes_hidden_matrices_alone() -> None:
    model, groups, optimizer = stepped("muon")
    names = {id(parameter): name.replace(".layer.", ".") for name, parameter in model.named_parameters()}
    taken = [names[id(p)] for p in groups.all if "momentum_buffer" in optimizer.state[p]]
    # Neither the first nor the last, nor a depthwise filter, nor a matrix of one row or column.
    assert taken == ["3.weight", "5.weight"]
    assert all(optimizer.state[p]["use_muon"] is False for p in groups.of_quantizers)


def test_soap_preconditions_weights_alone() -> None:
    _, groups, optimizer = stepped("soap")
    for parameter in groups.all:
        bases = optimizer.state[parameter]["Q"]
        if any(parameter is weight for weight in groups.weights):
            assert [len(basis) for basis in bases] == list(parameter.shape)
        else:
            assert all(len(basis) == 0 for basis in bases), "Adam's path"


def test_mars_corrects_the_gradients_of_weights_alone() -> None:
    _, groups, optimizer = stepped("mars")
    corrected = [parameter for parameter in groups.all if "last_gradient" in optimizer.state[parameter]]
    assert [id(parameter) for parameter in corrected] == [id(weight) for weight in groups.weights]


@pytest.mark.parametrize("shape", [(), (6,), (6, 1), (6, 1, 1, 1)])
def test_soap_is_adam_for_what_it_does_not_precondition(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, twin = (nn.Parameter(torch.ones(shape, dtype=torch.float64)) for _ in range(2))
    optimizer = soap([{"params": [ours], "weight_decay": 0.0, "matrices": False}], 0.01, beta1=0.9, beta2=0.95, eps=0.0)
    adam = torch.optim.Adam([twin], lr=0.01, betas=(0.9, 0.95), eps=0.0)
    for step in range(STEPS):
        gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
        ours.grad, twin.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        if step:  # SOAP's first only begins its statistics
            adam.step()
        torch.testing.assert_close(ours, twin, rtol=1e-12, atol=0)  # double precision


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("at", [0, 1, 9])
def test_soap_never_goes_on_from_a_preconditioner_that_is_not_finite(value: float, at: int) -> None:
    # In float32 the square of 1e30 is infinite, though the gradient is not.
    point, other = nn.Parameter(torch.eye(4)), nn.Parameter(torch.ones(3))
    groups = [{"params": [point, other], "weight_decay": 0.0, "matrices": True}]
    optimizer = soap(groups, 0.01, beta1=0.9, beta2=0.9, eps=1e-8)
    for step in range(12):
        for parameter in (point, other):
            parameter.grad = torch.ones_like(parameter)
        point.grad = torch.eye(4) + (value if step == at else 0.0)
        optimizer.step()
    assert not torch.isfinite(point).all()


class TwoOptimizers:
    """Torch's Muon on the matrices (filters flattened) and its AdamW on the rest."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        decayed, others = groups
        # The same storage in two dimensions.
        self.views = [(p, nn.Parameter(p.detach().view(len(p), -1))) for p in decayed["params"]]
        settings = {"lr": decayed["lr"], "weight_decay": decayed["weight_decay"], "momentum": 0.95, "nesterov": True}
        muons = torch.optim.Muon([view for _, view in self.views], **settings)
        # timm's has one eps, Muon's, for both.
        rest = {"lr": 0.015 * others["lr"], "weight_decay": others["weight_decay"], "betas": (0.9, 0.95), "eps": 1e-7}
        self.both = Joined(muons, torch.optim.AdamW(others["params"], **rest))
        self.param_groups = self.both.param_groups

    def step(self) -> None:
        for parameter, view in self.views:
            assert parameter.grad is not None
            view.grad = parameter.grad.view_as(view)
        self.both.step()


def test_muon_is_torchs_with_adamw_beside_it() -> None:
    ours, theirs = walk(of_table("muon", 0.02), 0.02), walk(TwoOptimizers, 0.02)
    # An update's entries are below 1 in bfloat16, with 8 bits, times 0.02 at most; decays and AdamW are exact.
    assert_same_walk(ours, theirs, rtol=0, atol=2e-4)


def test_muons_update_is_orthogonal_at_its_rate() -> None:
    point = nn.Parameter(torch.zeros(8, 4, 3, 3))
    groups: list[dict[str, Any]] = [{"params": [point], "weight_decay": 0.0, "matrices": True}]
    optimizer = muon(groups, 0.5, momentum=0.95, beta1=0.9, beta2=0.95, adamw_lr_ratio=0.015)
    point.grad = torch.randn(point.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    singular = torch.linalg.svdvals(point.detach().flatten(1)) / 0.5
    # Five Newton-Schulz steps bring singular values to between 0.7 and 1.2, not to 1 (Jordan et al.).
    assert singular.min() > 0.65 and singular.max() < 1.25
