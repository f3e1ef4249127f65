"""The points of a Schedule-Free optimizer (Defazio et al., 2024, arXiv 2405.15682), and how constraints hold at each.

It keeps the iterate z in its state, takes gradients at y = (1 - beta) z + beta x, and evaluates the average x of all z.
The model's parameters are y while it trains and x otherwise; x is never stored, but found again from y and z.

Constraints (steps above 0, weights within [-1, 1]) are put on z right after it has moved. x is an average of points
that meet them and y lies between the two, so both meet them as well, whatever convex constraint it is. Moving y alone
would not do: z would go on to any depth below 0, and x = y + (y - z) (1 - beta) / beta, an extrapolation, would come
out as far above: a network would be evaluated with steps of 5 that is trained with steps of 0.05. Constraining y and x
once more is for their last bit of rounding.
"""

from collections.abc import Callable
from typing import Any

import torch

from tune_qat.optimizers.joined import Optimizer, parts_of


def to_gradients(optimizer: Optimizer) -> None:
    """Move the parameters to the point where gradients are taken; a no-op for optimizers that have only one point."""
    for part in _averaging(optimizer):
        part.train()


def to_average(optimizer: Optimizer, constrain: Callable[[], None]) -> None:
    """Move the parameters to the point that is evaluated and saved; a no-op for optimizers that have only one point."""
    averaging = _averaging(optimizer)
    for part in averaging:
        part.eval()
    if averaging:
        constrain()


@torch.no_grad()
def constrain_all(optimizer: Optimizer, constrain: Callable[[], None]) -> None:
    """Call `constrain`, which changes parameters in place, after a step: at every point that the optimizer keeps."""
    for part in _averaging(optimizer):
        _constrain_iterate(part, constrain)
    constrain()


def _averaging(optimizer: Optimizer) -> list[Any]:
    return [part for part in parts_of(optimizer) if hasattr(part, "eval")]


def _constrain_iterate(optimizer: Any, constrain: Callable[[], None]) -> None:
    """Constrain z, and move y by its share of that change."""
    groups = [
        (group, [parameter for parameter in group["params"] if "z" in optimizer.state[parameter]])
        for group in optimizer.param_groups
    ]
    points = [parameter for _, parameters in groups for parameter in parameters]
    if not points:
        return
    iterates = [optimizer.state[parameter]["z"] for parameter in points]
    shares = [_share_of_iterate(group) for group, parameters in groups for _ in parameters]
    before = [parameter.clone() for parameter in points]
    torch._foreach_copy_(points, iterates)
    constrain()
    moves = torch._foreach_sub(points, iterates)
    torch._foreach_copy_(iterates, points)
    torch._foreach_mul_(moves, shares)
    torch._foreach_add_(before, moves)
    torch._foreach_copy_(points, before)


def _share_of_iterate(group: dict[str, Any]) -> float:
    """Return dy / dz for the newest z, where y = (1 - beta) z + beta x and x = (1 - c) x_before + c z."""
    beta = group["momentum"] if "momentum" in group else group["betas"][0]
    weight = group["k"] ** group["r"] * group["lr_max"] ** group["weight_lr_power"]
    newest = weight / group["weight_sum"] if group["weight_sum"] else 0.0
    return 1 - beta + beta * newest
