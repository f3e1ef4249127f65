"""Exact allocation of bits to layers under one budget: a multiple-choice knapsack, by mixed-integer programming."""

from collections.abc import Sequence

import numpy as np

LARGEST = 1e6
"""Sensitivity that the largest is scaled to: the solver takes differences below 1e-6 for none."""


def allocate(
    sensitivities: Sequence[Sequence[float | None]], costs: Sequence[Sequence[float]], limit: float
) -> list[int] | None:
    """Choose a candidate for each layer so that the sum of sensitivities is as small as it can be within the limit.

    What the sum leaves of the limit goes to later candidates of layers, in their order, that are no more sensitive.

    Args:
        sensitivities: of each layer at each candidate; None where a layer cannot have it.
        costs: of each layer at each candidate, which rise with the candidates.
        limit: most that the costs may come to in all.

    Returns:
        The position of each layer's candidate; None where no choice is within the limit.
    """
    goal = np.array([[np.nan if one is None else one for one in row] for row in sensitivities], dtype=float)
    price = np.array(costs, dtype=float)
    bound = limit
    # The solver takes 0.999999 for 1 and may so be above the limit by a little: the limit is then lowered by as much.
    for _ in range(100):
        chosen = _solved(goal, price, bound)
        if chosen is None:
            return None
        over = _total(price, chosen) - limit
        if over <= 0:
            return _filled(goal, price, chosen, limit)
        bound -= over
    return None


def _solved(goal: np.ndarray, price: np.ndarray, limit: float) -> list[int] | None:
    """Return the solver's choice, which may be above the limit by its tolerance."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    layers, candidates = goal.shape
    allowed, unit = np.isfinite(goal), max(float(price.max()), 1.0)
    filled = np.where(allowed, goal, 0.0)
    scale = LARGEST / (float(np.abs(filled).max()) or 1.0)
    one_each = np.kron(np.eye(layers), np.ones(candidates))
    found = milp(
        (filled * scale).ravel(),
        integrality=np.ones(goal.size),
        bounds=Bounds(0, allowed.ravel().astype(float)),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(price.reshape(1, -1) / unit, -np.inf, limit / unit),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return [int(one) for one in found.x.reshape(goal.shape).argmax(axis=1)]


def _filled(goal: np.ndarray, price: np.ndarray, chosen: list[int], limit: float) -> list[int]:
    """Move layers to later candidates that are no more sensitive, as far as the limit allows."""
    found = list(chosen)
    for layer, at in enumerate(chosen):
        for later in range(at + 1, goal.shape[1]):
            moved = [*found[:layer], later, *found[layer + 1 :]]
            if goal[layer, later] <= goal[layer, at] and _total(price, moved) <= limit:
                found = moved
    return found


def _total(price: np.ndarray, chosen: Sequence[int]) -> float:
    return float(price[np.arange(len(price)), list(chosen)].sum())
