"""The three points of a Schedule-Free optimizer: constrained, switched, saved, and warmed up."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.trials import assert_same_state, tiny_trial, training_of
from tests.optimizers.trajectories import assert_same_walk, of_table, walk
from tests.references.schedule_free import ScheduleFree
from tune_qat.config import Scheme, UsageError
from tune_qat.config.lookup import resolve
from tune_qat.optimizers import check, get_spec, resolve_options, schedule_free
from tune_qat.quantization.model import calibrate, constrain, constraints, quantize, quantizers_of
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint
from tune_qat.training.parameter_groups import parameter_groups
from tune_qat.training.step import build_optimizer

NAMES = ("schedule_free_sgd", "schedule_free_adamw")
LOW = 0.05


def built(name: str, points: list[nn.Parameter], rate: float) -> Any:
    options = resolve_options(name, {})
    weight_decay = options.pop("weight_decay")
    return resolve(get_spec(name).build)([{"params": points, "weight_decay": weight_decay}], rate, **options)


@pytest.mark.parametrize("name", NAMES)
def test_constraints_hold_for_the_iterate_as_if_all_points_were_kept(name: str) -> None:
    generator = np.random.default_rng(0)
    start = np.full(8, 0.2)
    point = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = built(name, [point], 0.3)
    twin = ScheduleFree(start, lr=0.3, low=LOW, adam=name.endswith("adamw"))

    def keep_above() -> None:
        with torch.no_grad():
            point.clamp_(min=LOW)

    touched = False
    for _ in range(40):
        schedule_free.to_gradients(optimizer)
        np.testing.assert_allclose(point.detach().numpy(), twin.y, rtol=1e-10)  # double precision
        gradient = generator.normal(size=8)
        point.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        schedule_free.constrain_all(optimizer, keep_above)
        twin.step(gradient)
        np.testing.assert_allclose(optimizer.state[point]["z"].numpy(), twin.z, rtol=1e-10)
        schedule_free.to_average(optimizer, keep_above)
        np.testing.assert_allclose(point.detach().numpy(), twin.x, rtol=1e-10)
        touched |= bool((twin.z == LOW).any())
    assert touched


def test_a_clamp_of_the_parameters_alone_would_evaluate_far_from_it() -> None:
    # What the projection is for: what is pushed against the bound stays there at every point.
    def average(through: Any) -> float:
        point = nn.Parameter(torch.tensor([0.1]))
        optimizer = built("schedule_free_sgd", [point], 1.0)
        optimizer.train()
        for gradient in (10.0, 10.0, 10.0):
            point.grad = torch.tensor([gradient])
            optimizer.step()
            through(optimizer, lambda: point.data.clamp_(min=LOW))
        optimizer.eval()
        return point.item()

    assert average(lambda optimizer, clamp: clamp()) > 1
    assert average(schedule_free.constrain_all) == pytest.approx(LOW, rel=1e-6)  # float32


@pytest.mark.parametrize("quantizer", ["lsq", "lsq_plus", "dsq", "qil", "ttq", "qnn"])
@pytest.mark.parametrize("name", NAMES)
def test_every_methods_domain_is_kept_at_every_point_at_the_highest_rate(name: str, quantizer: str) -> None:
    weights_only = quantizer == "ttq"
    bits = {"weight_bits": 2, "activation_bits": 32 if weights_only else 2, "first_last_bits": 32}
    scheme = Scheme(quantizer=quantizer, **bits)  # type: ignore[arg-type]
    torch.manual_seed(0)
    x, y = torch.randn(16, 6), torch.randn(16, 3)
    model = quantize(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)), scheme, x[:1])
    calibrate(model, x)
    rate = get_spec(name).learning_rate
    assert rate is not None
    groups = parameter_groups(model)
    optimizer, _ = build_optimizer(tiny_trial(scheme=scheme, optimizer=name, learning_rate=rate.high), groups)
    bring_back = constraints(model)

    def in_domain() -> bool:
        """Nothing is left to bring back."""
        before = [p.detach().clone() for p in groups.all]
        constrain(bring_back)
        return all(
            torch.equal(p, old) or not torch.isfinite(old).all() for p, old in zip(groups.all, before, strict=True)
        )

    for _ in range(50):
        schedule_free.to_gradients(optimizer)
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
        schedule_free.constrain_all(optimizer, lambda: constrain(bring_back))
        assert in_domain()
        schedule_free.to_average(optimizer, lambda: constrain(bring_back))
        assert in_domain()
    assert quantizers_of(model)


def test_parameters_without_a_constraint_are_as_without_constraints() -> None:
    def places(constrained: bool) -> list[float]:
        free, bound = nn.Parameter(torch.tensor([0.3])), nn.Parameter(torch.tensor([0.3]))
        optimizer = built("schedule_free_adamw", [free, bound], 0.1)
        optimizer.train()

        def bring_back() -> None:
            bound.data.clamp_(min=LOW)

        found = []
        for gradient in (1.0, -2.0, 0.5, 1.0):
            free.grad, bound.grad = torch.tensor([gradient]), torch.tensor([1.0])
            optimizer.step()
            if constrained:
                schedule_free.constrain_all(optimizer, bring_back)
            found.append(free.item())
        return found

    assert places(True) == places(False)


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_by_the_schedule_is_the_librarys(name: str) -> None:
    own = of_table(name, 0.01)

    def warmed(groups: Any) -> torch.optim.Optimizer:
        optimizer = own(groups)
        for group in optimizer.param_groups:
            group["warmup_steps"] = 5
        return optimizer

    # Rates of 1/5, 2/5 ... from outside, against a rate of 1 and the library's own factor.
    ours = walk(own, 0.01, warmup=5)
    assert_same_walk(ours, walk(warmed, 0.01, warmup=1), rtol=0, atol=1e-12)  # double precision


class TestTraining:
    @pytest.mark.parametrize("name", NAMES)
    def test_evaluates_and_saves_the_average(self, name: str) -> None:
        training = training_of(tiny_trial(optimizer=name, learning_rate=get_spec(name).default_learning_rate, epochs=1))
        evaluate, seen = training.task.evaluate, []

        def watched(predict: Any, split: str) -> Any:
            seen.append([parameter.detach().clone() for parameter in training.model.parameters()])
            return evaluate(predict, split)

        training.task.evaluate = watched  # type: ignore[method-assign]  # on this task alone
        next(training.epochs())
        _, evaluated = seen  # the first one is before the first step
        saved = training.state_dict()["model"]
        for (key, parameter), at in zip(training.model.named_parameters(), evaluated, strict=True):
            assert torch.equal(saved[key], at)
            assert torch.equal(parameter, at)
        schedule_free.to_gradients(training.optimizer)
        moved = [not torch.equal(p, at) for p, at in zip(training.model.parameters(), evaluated, strict=True)]
        assert all(moved), "gradients are taken elsewhere"

    @pytest.mark.parametrize("name", NAMES)
    def test_goes_on_from_a_checkpoint_in_the_middle_bit_for_bit(self, name: str, tmp_path: Any) -> None:
        config = tiny_trial(optimizer=name, learning_rate=0.1, epochs=4, warmup_epochs=1.5)
        whole = training_of(config)
        epochs = whole.epochs()
        next(epochs), next(epochs)
        save_checkpoint(whole.state_dict(), tmp_path / "last.pt")
        rest = [result.train_loss for result in epochs]
        resumed = training_of(config)
        resumed.load_state_dict(load_checkpoint(tmp_path / "last.pt"))
        assert [result.train_loss for result in resumed.epochs()] == rest
        assert_same_state(resumed.model, whole.model)

    def test_leaving_an_epoch_by_an_error_leaves_the_average(self) -> None:
        training = training_of(tiny_trial(optimizer="schedule_free_sgd", learning_rate=1.0))
        loss = training.task.loss

        def failing(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            if training.step == 3:
                raise RuntimeError("user code")
            return loss(output, target)

        training.task.loss = failing  # type: ignore[method-assign]  # on this task alone
        with pytest.raises(RuntimeError, match="user code"):
            next(training.epochs())
        assert not any(group["train_mode"] for group in training.optimizer.param_groups)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_schedule_is_a_mistake_of_the_user(name: str, schedule: str) -> None:
    config = tiny_trial(optimizer=name, schedule=schedule)
    text = f"schedule must be 'constant' with optimizer '{name}', .* but got '{schedule}'"
    for tell in (check, training_of):
        with pytest.raises(UsageError, match=text):
            tell(config)
