"""What every optimizer of the table has to keep. A new one adds a subclass to `test_optimizers.py`."""

import inspect
import io
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from tests.quantizers.comparison import case
from tune_qat.config import Scheme, TrialConfig, UsageError
from tune_qat.optimizers import get_spec, resolve_options, schedule_free, schedule_of
from tune_qat.quantization.model import calibrate, constrain, constraints, quantize
from tune_qat.training.parameter_groups import ParameterGroups, parameter_groups
from tune_qat.training.step import build_optimizer

W4A4 = Scheme(weight_bits=4, activation_bits=4)
NO_VALUES = (-0.1, math.nan, math.inf, True, "0.1", None)
"""Of any option."""


class Problem:
    """A small quantized model on fixed data, with the optimizer built as training builds it."""

    def __init__(self, config: TrialConfig, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn((16, 6), generator=generator).to(dtype)
        self.y = torch.randn((16, 3), generator=generator).to(dtype)
        torch.manual_seed(0)
        plain = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
        self.model = quantize(plain, config.scheme, self.x[:1].float()).to(dtype)
        calibrate(self.model, self.x)
        self.groups = parameter_groups(self.model)
        self.optimizer, self.clip = build_optimizer(config, self.groups)
        self.constrain = partial(constrain, constraints(self.model))
        schedule_free.to_gradients(self.optimizer)

    def backward(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = (self.model(self.x) - self.y).square().mean()
        loss.backward()
        return loss.item()

    def step(self) -> float:
        loss = self.backward()
        if self.clip:
            self.clip()
        self.optimizer.step()
        schedule_free.constrain_all(self.optimizer, self.constrain)
        return loss

    @contextmanager
    def at_average(self) -> Iterator[None]:
        """At the point that is evaluated and saved."""
        schedule_free.to_average(self.optimizer, self.constrain)
        yield
        schedule_free.to_gradients(self.optimizer)

    def state(self) -> dict[str, Any]:
        """Through a file of plain data, as a checkpoint goes."""
        file = io.BytesIO()
        with self.at_average():
            torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
        file.seek(0)
        state: dict[str, Any] = torch.load(file, weights_only=True)
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        schedule_free.to_gradients(self.optimizer)


class OptimizerConformance:
    """Subclasses name the optimizer, the library's class, and the published range of learning rates."""

    name: ClassVar[str]
    library: ClassVar[Callable[[], type[torch.optim.Optimizer]]]
    """The one whose defaults the table documents."""
    built: ClassVar[Callable[[], type[torch.optim.Optimizer]] | None] = None
    """The class that the table builds, where it is not the library's."""
    learning_rates: ClassVar[tuple[float, float]]
    not_in_groups: ClassVar[tuple[str, ...]] = ()
    """Options that end up elsewhere than in the optimizer's groups, with a test of their own."""
    own_options: ClassVar[Mapping[str, float]] = {}
    """Options that the library's constructor lacks or sets otherwise, with their value in the table."""
    bowl_rate: ClassVar[float | None] = None
    """Learning rate with which it comes down a bowl of curvatures 2 and 6; its default where None."""
    multiplier: ClassVar[float] = 0.5
    """Of the quantizers' learning rate."""
    idle_steps: ClassVar[int] = 0
    """First steps that only begin its averages and move nothing."""
    rolls_on: ClassVar[bool] = False
    """Whether it passes the lowest point and comes back."""

    def config(self, learning_rate: float | None = None, **values: Any) -> TrialConfig:
        return TrialConfig(
            **{
                "model": "lenet5",
                "dataset": "digits",
                "scheme": W4A4,
                "optimizer": self.name,
                "learning_rate": learning_rate or get_spec(self.name).default_learning_rate,
                "batch_size": 16,
                "epochs": 1,
                "schedule": schedule_of(self.name, "cosine"),
                **values,
            }
        )

    def test_describes_itself(self) -> None:
        spec = get_spec(self.name)
        assert spec.name == self.name and spec.summary and spec.source
        assert set(spec.searched) <= set(spec.defaults)
        assert bool(spec.moves_steps) == bool(spec.matrices), "what it does with a quantizer's parameters is said"
        assert set(spec.clip_options) <= set(spec.defaults) and bool(spec.clip) == bool(spec.clip_options)
        for option, searched in spec.searched.items():
            assert 0 < searched.low < searched.high
            assert searched.low <= spec.defaults[option] <= searched.high
            for end in (searched.low, searched.high):
                resolve_options(self.name, {option: end})

    def test_range_of_learning_rates_is_the_published_one(self) -> None:
        spec = get_spec(self.name)
        assert spec.learning_rate is not None
        assert (spec.learning_rate.low, spec.learning_rate.high) == self.learning_rates
        assert spec.learning_rate.log
        assert spec.learning_rate.low <= spec.default_learning_rate <= spec.learning_rate.high

    def test_defaults_are_the_librarys(self) -> None:
        spec = get_spec(self.name)
        library = inspect.signature(type(self).library()).parameters
        assert spec.default_learning_rate == library["lr"].default
        for option, value in spec.defaults.items():
            if option in self.own_options:
                assert value == self.own_options[option]
            elif option in ("beta1", "beta2", "beta3"):
                assert value == library["betas"].default[int(option[-1]) - 1]
            else:
                assert value == library[option].default

    def test_builds_its_class_with_every_option(self) -> None:
        spec = get_spec(self.name)
        options = {option: value / 2 for option, value in spec.defaults.items()}
        problem = Problem(self.config(optimizer_options=options))
        assert isinstance(problem.optimizer, (type(self).built or type(self).library)())
        for group in problem.optimizer.param_groups:
            for option in set(options) - set(spec.clip_options) - {"weight_decay"} - set(self.not_in_groups):
                actual = group["betas"][int(option[-1]) - 1] if option.startswith("beta") else group[option]
                assert actual == options[option]

    def test_unknown_option_is_a_mistake_of_the_user(self) -> None:
        with pytest.raises(UsageError, match=rf"'{self.name}' has no option 'momentun'..*It takes: .*weight_decay"):
            resolve_options(self.name, {"momentun": 0.9})

    def test_value_outside_its_domain_is_a_mistake_of_the_user(self) -> None:
        for option, value in itertools.product(get_spec(self.name).defaults, NO_VALUES):
            message = f"{option!r} of optimizer {self.name!r} must be a number >= 0"
            with case(option, value), pytest.raises(UsageError, match=message):
                resolve_options(self.name, {option: value})

    def test_whatever_the_table_takes_the_library_takes(self) -> None:
        # An error of the library is a traceback for the user.
        for option in get_spec(self.name).defaults:
            for value in (0.0, 0.999, 1.0, 10.0):
                try:
                    options = resolve_options(self.name, {option: value})
                except UsageError:
                    continue
                Problem(self.config(optimizer_options=options)).step()

    def test_comes_down_a_convex_bowl(self) -> None:
        # Three, for the first and the last weight of a model may be treated apart.
        points = [nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]])) for _ in range(3)]
        groups = ParameterGroups(
            weights=points, others=[], quantizer=[], decayed_quantizer=[], last_weight=None, transposed={}
        )
        optimizer, clip = build_optimizer(self.config(self.bowl_rate), groups)
        losses = []
        for _ in range(200):
            schedule_free.to_gradients(optimizer)
            optimizer.zero_grad()
            bowl = sum((torch.tensor([[1.0, 3.0]]) * point.square()).sum() for point in points)
            assert isinstance(bowl, torch.Tensor)
            bowl.backward()
            if clip:
                clip()
            optimizer.step()
            schedule_free.to_average(optimizer, lambda: None)
            losses.append(sum((torch.tensor([[1.0, 3.0]]) * point.square()).sum().item() for point in points))
        if self.rolls_on:
            assert losses[-1] < losses[0] / 10
        else:
            assert all(later < earlier for earlier, later in itertools.pairwise(losses[self.idle_steps :]))

    def test_learns_a_quantized_model(self) -> None:
        problem = Problem(self.config())
        losses = [problem.step() for _ in range(60)]
        assert sum(losses[-10:]) < sum(losses[:10])

    def test_goes_on_from_its_state_bit_for_bit(self) -> None:
        config = self.config(optimizer_options={"weight_decay": 0.01}, quantizer_lr_multiplier=self.multiplier)
        whole = Problem(config, torch.float32)
        losses = [whole.step() for _ in range(6)]
        state = whole.state()
        losses += [whole.step() for _ in range(6)]
        resumed = Problem(config, torch.float32)
        resumed.load(state)
        assert [resumed.step() for _ in range(6)] == losses[6:]
        for (name, one), (_, other) in zip(
            whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
        ):
            assert torch.equal(one, other), name

    def test_weight_decay_reaches_weights_alone(self) -> None:
        problem = Problem(self.config(learning_rate=1e-3, optimizer_options={"weight_decay": 0.1}))
        before = {id(p): p.detach().clone() for p in problem.groups.all}
        for _ in range(1 + self.idle_steps):
            for parameter in problem.groups.all:
                parameter.grad = torch.zeros_like(parameter)
            # One that moves: an optimizer that finds its own rate does nothing where no gradient is.
            problem.groups.others[0].grad = torch.ones_like(problem.groups.others[0])
            problem.optimizer.step()
        for weight in problem.groups.weights:
            moved = weight.detach() - before[id(weight)]
            assert (moved * before[id(weight)] < 0).all(), "weights shrink"
        for parameter in (*problem.groups.others[1:], *problem.groups.quantizer):
            assert torch.equal(parameter, before[id(parameter)])

    def test_every_parameter_is_in_one_group(self) -> None:
        problem = Problem(self.config())
        grouped = [id(p) for group in problem.optimizer.param_groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in problem.model.parameters())

    def test_multiplier_scales_the_step_of_the_quantizers_alone(self) -> None:
        moves = {}
        for multiplier in (1.0, 0.25):
            problem = Problem(self.config(learning_rate=1e-3, quantizer_lr_multiplier=multiplier))
            before = [p.detach().clone() for p in problem.groups.all]
            for _ in range(1 + self.idle_steps):
                problem.backward()
                problem.optimizer.step()
            moves[multiplier] = [p.detach() - old for p, old in zip(problem.groups.all, before, strict=True)]
        quantizers = len(problem.groups.quantizer)
        assert quantizers == 6
        for whole, part in zip(moves[1.0][:-quantizers], moves[0.25][:-quantizers], strict=True):
            assert torch.equal(whole, part)
        for whole, part in zip(moves[1.0][-quantizers:], moves[0.25][-quantizers:], strict=True):
            assert whole != 0
            # Differences of numbers of order 0.1 in double precision: 1e-17 of a move of at least 1e-10.
            torch.testing.assert_close(part, 0.25 * whole, rtol=1e-6, atol=0)

    def test_every_group_keeps_its_peak_for_the_schedule(self) -> None:
        problem = Problem(self.config(learning_rate=0.004, quantizer_lr_multiplier=self.multiplier))
        rates = [0.004 * ratio for ratio in self.ratios()]
        assert [group["lr"] for group in problem.optimizer.param_groups] == rates
        assert [group["peak_lr"] for group in problem.optimizer.param_groups] == rates

    def ratios(self) -> tuple[float, ...]:
        """Learning rates of the groups over that of the trial."""
        return (1, 1, self.multiplier)

    def hardest(self) -> TrialConfig:
        """The configuration within the searched ranges that moves furthest."""
        return self.config(learning_rate=self.learning_rates[1])

    def test_steps_stay_positive_at_the_highest_learning_rate(self) -> None:
        problem = Problem(self.hardest(), torch.float32)
        moved = False
        for _ in range(100):
            before = [step.item() for step in problem.groups.quantizer]
            problem.step()
            after = [step.item() for step in problem.groups.quantizer]
            assert all(step > 0 for step in after)
            with problem.at_average():
                assert all(step > 0 for step in problem.groups.quantizer)
            moved |= before != after
        assert moved

    def test_floating_point_has_no_quantizer_group(self) -> None:
        problem = Problem(self.config(scheme=Scheme.floating_point()))
        # Hidden matrices of those that treat them apart, weights, and biases and norms.
        assert len(problem.optimizer.param_groups) == 2 + (get_spec(self.name).matrices == "hidden_weights")
        losses = [problem.step() for _ in range(2 + self.idle_steps)]
        assert losses[0] > losses[-1]
