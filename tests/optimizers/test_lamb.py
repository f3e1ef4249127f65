"""The ratio of LAMB where libraries bound it, and at norms of 0."""

import pytest
import torch
from torch import nn

from tune_qat.optimizers.lamb import lamb

RATE = 0.01
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 0.0}


def moved(start: torch.Tensor, gradient: torch.Tensor, weight_decay: float = 0.0) -> torch.Tensor:
    """What the first step adds."""
    point = nn.Parameter(start.clone())
    optimizer = lamb([{"params": [point], "weight_decay": weight_decay}], RATE, **ADAM)
    point.grad = gradient
    optimizer.step()
    return point.detach() - start


@pytest.mark.parametrize("norm", [1e-3, 1.0, 9.9, 10.1, 50.0, 1e4])
@pytest.mark.parametrize("gradient", [1e-5, 1.0, 1e5])
def test_the_first_step_is_as_long_as_the_rate_times_the_norm(norm: float, gradient: float) -> None:
    start = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start *= norm / start.norm()
    signs = start.roll(1).sign()
    step = moved(start, gradient * signs)
    # Corrected moments make Adam's first direction the gradient's sign.
    expected = -RATE * norm / signs.norm() * signs
    torch.testing.assert_close(step, expected, rtol=1e-9, atol=0)  # a difference of doubles a hundred times as large


def test_decay_is_inside_the_ratio() -> None:
    start = torch.tensor([3.0, 4.0], dtype=torch.float64)
    step = moved(start, torch.tensor([1.0, -1.0], dtype=torch.float64), weight_decay=0.5)
    # The update is the sign plus half of the weights, (2.5, 1), scaled to the weights' norm of 5.
    update = torch.tensor([2.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(step, -RATE * 5 / update.norm() * update, rtol=1e-12, atol=0)  # double precision


def test_what_begins_at_0_takes_the_step_of_adam() -> None:
    gradient = torch.tensor([0.3, -2.0], dtype=torch.float64)
    step = moved(torch.zeros(2, dtype=torch.float64), gradient)
    torch.testing.assert_close(step, -RATE * gradient.sign(), rtol=1e-12, atol=0)  # double precision
