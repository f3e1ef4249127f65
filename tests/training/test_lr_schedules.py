"""Schedules against torch's own, and by hand."""

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from tune_qat.config import SCHEDULES
from tune_qat.training.lr_schedules import learning_rate_factor


def factors(schedule: str, total: int, warmup: int = 0) -> list[float]:
    return [learning_rate_factor(schedule, step, total, warmup) for step in range(total)]


def rates(scheduler: LRScheduler, steps: int) -> list[float]:
    result = []
    for _ in range(steps):
        result.append(float(scheduler.get_last_lr()[0]))
        scheduler.optimizer.step()
        scheduler.step()
    return result


def optimizer() -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def test_cosine_is_torchs() -> None:
    # Theirs is a recurrence, ours the closed form: a few roundings in double precision apart.
    expected = rates(CosineAnnealingLR(optimizer(), T_max=40), 40)
    assert factors("cosine", 40) == pytest.approx(expected, abs=1e-12)


def test_step_is_torchs() -> None:
    expected = rates(MultiStepLR(optimizer(), milestones=[20, 30], gamma=0.1), 40)
    assert factors("step", 40) == pytest.approx(expected, rel=1e-12)  # 0.1 * 0.1 against 0.1 ** 2


def test_step_takes_milestones_and_a_decay() -> None:
    expected = rates(MultiStepLR(optimizer(), milestones=[8, 24, 32], gamma=0.2), 40)
    found = [learning_rate_factor("step", step, 40, 0, [8, 24, 32], 0.2) for step in range(40)]
    assert found == pytest.approx(expected, rel=1e-12)  # powers against repeated products


def test_constant() -> None:
    assert factors("constant", 5) == [1.0] * 5


def test_by_hand() -> None:
    # Two steps of warm-up, then four from 1 towards 0: cos of 0, 45, 90 and 135 degrees.
    half = 0.5**0.5
    expected = [0.5, 1.0, 1.0, (1 + half) / 2, 0.5, (1 - half) / 2]
    assert factors("cosine", 6, warmup=2) == pytest.approx(expected, rel=1e-12)  # cosine in double precision
    assert factors("step", 6, warmup=2) == pytest.approx([0.5, 1, 1, 1, 0.1, 0.01], rel=1e-12)
    assert factors("constant", 6, warmup=2) == [0.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (2, 1), (7, 3), (100, 99)])
def test_stays_above_zero_and_reaches_the_peak(schedule: str, total: int, warmup: int) -> None:
    values = factors(schedule, total, warmup)
    assert all(0 < value <= 1 for value in values) and max(values) == 1
    assert values[:warmup] == sorted(values[:warmup])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
