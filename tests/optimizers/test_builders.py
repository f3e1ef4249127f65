"""What single optimizers of the table do beyond what all have to keep."""

import pytest
import torch
from torch import nn

from tune_qat.config import UsageError
from tune_qat.config.lookup import resolve
from tune_qat.optimizers import get_spec, resolve_options


def one_group(value: float) -> tuple[nn.Parameter, list[dict[str, object]]]:
    parameter = nn.Parameter(torch.tensor([value]))
    return parameter, [{"params": [parameter], "weight_decay": 0.0}]


def walk(name: str, learning_rate: float, gradients: list[float], **options: float) -> list[float]:
    """Where a parameter goes from 0 under given gradients."""
    parameter, groups = one_group(0.0)
    optimizer = resolve(get_spec(name).build)(groups, learning_rate, **options)
    positions = []
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
        positions.append(parameter.item())
    return positions


def test_sgd_has_no_momentum() -> None:
    assert walk("sgd", 0.5, [1.0, 2.0, 0.0]) == [-0.5, -1.5, -1.5]


def test_a_heavy_ball_rolls_on() -> None:
    # Polyak: v = m v + g, then p -= lr v. By hand for m = 0.5, all exact in binary.
    assert walk("sgd_momentum", 1.0, [1.0, 1.0, 0.0], momentum=0.5) == [-1.0, -2.5, -3.25]


def test_nesterov_looks_ahead() -> None:
    # Sutskever et al.: v = m v + g, then p -= lr (g + m v). By hand for m = 0.5, all exact in binary.
    assert walk("nesterov", 1.0, [1.0, 1.0, 0.0], momentum=0.5) == [-1.5, -3.25, -3.625]


def test_nesterov_without_momentum_is_sgd() -> None:
    assert walk("nesterov", 0.5, [1.0, 2.0, 0.0], momentum=0.0) == [-0.5, -1.5, -1.5]


def test_lion_steps_by_the_sign() -> None:
    # Chen et al., with c = 0.5 m + 0.5 g and m = 0.75 m + 0.25 g: c is 2, then 0.5 - 0.25, then about -0.7.
    positions = walk("lion", 0.25, [4.0, -0.5, -2.0], beta1=0.5, beta2=0.75)
    assert positions == [-0.25, -0.5, -0.25]


def test_only_adamw_decays_apart_from_the_gradient() -> None:
    # With a gradient far above the decay, L2 decay vanishes in Adam's normalisation and decoupled decay does not.
    ends = {}
    for name in ("adam", "adamw"):
        parameter, groups = one_group(1.0)
        groups[0]["weight_decay"] = 0.5
        optimizer = resolve(get_spec(name).build)(groups, 0.1, beta1=0.9, beta2=0.999, eps=1e-8)
        parameter.grad = torch.tensor([1e3])
        optimizer.step()
        ends[name] = parameter.item()
    # adam: 1 - 0.1; adamw: 1 - 0.1 * 0.5 - 0.1. Adam's eps and float32 leave 1e-6.
    assert ends == {"adam": pytest.approx(0.9, abs=1e-6), "adamw": pytest.approx(0.85, abs=1e-6)}


@pytest.mark.parametrize(
    ("name", "option"),
    [("adam", "beta1"), ("adam", "beta2"), ("lion", "beta2"), ("rmsprop", "alpha"), ("adadelta", "rho")]
    + [("nesterov", "momentum")],
)
def test_the_weight_of_the_past_is_below_one(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=rf"{option!r} of optimizer {name!r} must be below 1, but got 1.5"):
        resolve_options(name, {option: 1.5})


def test_given_options_go_over_the_defaults() -> None:
    assert resolve_options("nesterov", {"momentum": 0}) == {"momentum": 0.0, "weight_decay": 0.0}
