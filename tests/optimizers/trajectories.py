"""Two optimizers walked side by side over the same noisy bowl, at a learning rate that changes with every step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from tune_qat.config.lookup import resolve
from tune_qat.optimizers import get_spec, resolve_options

STEPS = 20
DECAY = 0.1
Groups = list[dict[str, Any]]
Build = Callable[[Groups], Any]


TALL_AND_WIDE = ((7, 5), (4, 9))
SQUARE = ((5, 5), (7, 7))


def parameters(matrices: tuple[tuple[int, int], ...] = TALL_AND_WIDE) -> list[nn.Parameter]:
    """A filter, two matrices, a vector, a scalar; the last two are not decayed."""
    generator = torch.Generator().manual_seed(1)
    shapes: list[tuple[int, ...]] = [(6, 3, 3, 3), *matrices, (6,), ()]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def groups_of(points: list[nn.Parameter], rate: float) -> Groups:
    return [
        {"params": points[:3], "weight_decay": DECAY, "lr": rate, "matrices": True},
        {"params": points[3:], "weight_decay": 0.0, "lr": rate, "matrices": False},
    ]


def of_table(name: str, rate: float, **options: float) -> Build:
    """The table's builder with its defaults."""
    values = resolve_options(name, options)
    del values["weight_decay"]
    return lambda groups: resolve(get_spec(name).build)(groups, rate, **values)


def walk(
    build: Build, rate: float, *, warmup: int = 0, matrices: tuple[tuple[int, int], ...] = TALL_AND_WIDE
) -> list[torch.Tensor]:
    """Where the parameters are after each step, one vector a step."""
    points = parameters(matrices)
    optimizer = build(groups_of(points, rate))
    peaks = [group["lr"] for group in optimizer.param_groups]
    noise = torch.Generator().manual_seed(2)
    places = []
    for step in range(STEPS):
        factor = (step + 1) / warmup if step < warmup else 1.0 if warmup else 1 / (1 + step)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        if hasattr(optimizer, "train"):
            optimizer.train()
        for point in points:
            point.grad = point.detach() + torch.randn(point.shape, generator=noise, dtype=torch.float64)
        optimizer.step()
        if hasattr(optimizer, "eval"):
            optimizer.eval()
        places.append(torch.cat([point.detach().flatten() for point in points]).clone())
    return places


def assert_same_walk(ours: list[torch.Tensor], theirs: list[torch.Tensor], *, rtol: float, atol: float) -> None:
    """Every step of two walks, and that each parameter moves."""
    for step, (one, other) in enumerate(zip(ours, theirs, strict=True), 1):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol, msg=partial("step {}: {}".format, step))
    assert (ours[-1] != ours[0]).all()
