"""Choice of an arm with several objectives: the trials that no other one dominates, spread to a few."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.config.statuses import COMPLETED, SEARCHED_STAGES
from tune_qat.tuning.finalists import Done, rank
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import PlannedTrial


class Front:
    """Front of an arm's completed trials on validation data; told of trials in any order.

    A trial that is no better than the constant predictor is on it only where no trial is.
    """

    def __init__(self, objective: Objective, objectives: Objectives, *, count: int) -> None:
        """Choose at most `count` points."""
        self._objective, self._objectives, self._count = objective, objectives, count
        self._learned: list[Done] = []
        self._others: list[Done] = []

    def note(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Add a trial that has ended, of whichever stage."""
        if plan.stage in SEARCHED_STAGES and row["status"] == COMPLETED and row["val_metric"] is not None:
            learned = self._objective.score_of(row) > self._objective.of(self._objective.trivial)
            kept = self._learned if learned or self._objective.trivial is None else self._others
            kept[:] = self._with(kept, (plan, row))

    @property
    def finalists(self) -> list[Done]:
        """No trials: a front has no finalists."""
        return []

    @property
    def points(self) -> list[Done]:
        """All trials of the front, the best metric first."""
        return sorted(self._learned or self._others, key=self._rank, reverse=True)

    @property
    def chosen(self) -> list[Done]:
        """Trials whose configurations are trained again, the best metric first."""
        points = self.points
        return [points[at] for at in spread([self._losses(done) for done in points], self._count)]

    @property
    def best(self) -> Done | None:
        """The end of the front that has the best metric."""
        return next(iter(self.points), None)

    def _with(self, front: Sequence[Done], new: Done) -> list[Done]:
        """Return the front with another trial; of trials that are alike in all objectives one stays."""
        losses = self._losses(new)
        left = []
        for done in front:
            known = self._losses(done)
            alike = known == losses
            if dominates(known, losses) or (alike and self._rank(done) > self._rank(new)):
                return [*front]
            if not alike and not dominates(losses, known):
                left.append(done)
        return [*left, new]

    def _rank(self, done: Done) -> tuple[float, str]:
        return rank(done, self._objective)

    def _losses(self, done: Done) -> tuple[float, ...]:
        """Return the metric and the costs of a trial, all of them the smaller the better."""
        plan, row = done
        return -self._objective.of(row["val_metric"]), *self._objectives.cost_of(plan.config.scheme)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether a point is no worse than another in any loss and better in one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def spread(points: Sequence[Sequence[float]], count: int) -> list[int]:
    """Return the positions of `count` points that keep the most of a front's width, in the order of `points`.

    One after the other the point goes whose neighbours are nearest to each other (crowding distance of NSGA-II: the sum
    over losses of the gap between both neighbours, as a share of the front's width). The best in a loss stay longest,
    of which the first point goes last.
    """
    left = [*range(len(points))]
    while len(left) > count:
        distances = _crowding([points[at] for at in left])
        nearest = min(range(1, len(left)), key=lambda at: (distances[at], -at))
        del left[nearest]
    return left


def _crowding(points: Sequence[Sequence[float]]) -> list[float]:
    distances = [0.0] * len(points)
    for loss in zip(*points, strict=True):
        order = sorted(range(len(points)), key=loss.__getitem__)
        width = loss[order[-1]] - loss[order[0]]
        distances[order[0]] = distances[order[-1]] = float("inf")
        for before, at, after in zip(order, order[1:], order[2:], strict=False):
            distances[at] += (loss[after] - loss[before]) / width if width else 0.0
    return distances
