"""Objectives of a search: the metric alone, or with it costs that the scheme of a trial decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection

from tune_qat.config import Scheme, TuneQatError
from tune_qat.config.statuses import ERROR
from tune_qat.study import Study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.sampler import MAXIMIZE, MINIMIZE

Costs = Mapping[Scheme, Mapping[str, float]]
"""Costs of each scheme of a study by name."""


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Objectives of a study in the order of its file; by default the metric alone."""

    costs: tuple[str, ...] = ()
    """Names of the costs."""
    place: int = 0
    """Position of the metric among the objectives."""
    by_scheme: Costs = field(default_factory=dict)

    @classmethod
    def of_study(cls, study: Study, costs: Costs) -> "Objectives":
        """Return the objectives of a study whose schemes have these `costs`.

        Raises `TuneQatError` where a cost of a scheme is not known, or one is the same in all schemes.
        """
        names = study.search.objectives
        if names is None:
            return cls()
        metric = study.judgement.metric
        chosen = tuple(name for name in names if name != metric)
        for name in chosen:
            _check(name, study.schemes, costs)
        return cls(costs=chosen, place=names.index(metric), by_scheme=costs)

    @property
    def several(self) -> bool:
        return bool(self.costs)

    @property
    def directions(self) -> list[StudyDirection]:
        """Directions for Optuna, in the order of the file: an `Objective` has the metric's sign in it already."""
        return self._in_order(MAXIMIZE, [MINIMIZE] * len(self.costs))

    def of(self, plan: PlannedTrial, metric: float) -> list[float]:
        """Return the value of each objective, in the order of the file, of a trial with this signed metric."""
        return self._in_order(metric, self.cost_of(plan.config.scheme))

    def told(self, plan: PlannedTrial, row: Mapping[str, Any], metric: Objective) -> list[float] | None:
        """Return what a sampler learns from an ended trial, the worst in the metric alone where it failed.

        None for an error, which says nothing of the configuration.
        """
        return None if row["status"] == ERROR else self.of(plan, metric.of_row(row))

    def cost_of(self, scheme: Scheme) -> list[float]:
        """Return the costs of a scheme in the order of `costs`."""
        return [float(self.by_scheme[scheme][name]) for name in self.costs]

    def _in_order(self, metric: Any, costs: Sequence[Any]) -> list[Any]:
        return [*costs[: self.place], metric, *costs[self.place :]]


METRIC_ALONE = Objectives()


def _check(name: str, schemes: Sequence[Scheme], costs: Costs) -> None:
    for scheme in schemes:
        if name not in costs.get(scheme, {}):
            raise TuneQatError(f"search.objectives: what {scheme.label} costs in {name} is not known.")
    if len({costs[scheme][name] for scheme in schemes}) == 1:
        labels = ", ".join(scheme.label for scheme in schemes)
        value = f"{costs[schemes[0]][name]:,.0f}"
        raise TuneQatError(
            f"search.objectives: {name} is {value} at each of {labels}, so that nothing is traded against it. Give "
            "quantization.bits pairs that differ in it, or leave it out."
        )
