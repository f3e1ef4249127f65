"""Choice of an arm's configuration: its best trial, or of its best few the one with the best mean over further seeds.

The best of many trials is partly the luckiest: its metric is above what its configuration gives again (the optimizer's
curse: Smith & Winkler, Management Science 52, 2006). Trained again with seeds that took no part in the search, the best
few are compared by what they give on average.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tune_qat.config.statuses import COMPLETED, FINALISTS, SEARCHED_STAGES
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial

Done = tuple[PlannedTrial, Mapping[str, Any]]
"""Plan and row of a trial that has ended."""


class Selection:
    """Best trials of an arm's configurations, and the further runs of these; told of trials in any order."""

    def __init__(self, objective: Objective, *, count: int, seeds: Sequence[int]) -> None:
        """Choose among `count` finalists by further runs with these seeds; for a count of 0 by the best trial."""
        self._objective, self._count, self._seeds = objective, count, seeds
        self._best: dict[str, Done] = {}
        self._runs: dict[str, dict[int, Mapping[str, Any]]] = {}

    def note(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Add a trial that has ended, of whichever stage."""
        if plan.stage == FINALISTS:
            self._runs.setdefault(plan.config.config_id, {})[plan.config.seed] = row
        elif plan.stage in SEARCHED_STAGES and row["status"] == COMPLETED and row["val_metric"] is not None:
            # Most trials of a large search are not among the best: they cost one comparison.
            most, known = max(1, self._count), [*self._best.values()]
            if len(known) < most or rank((plan, row), self._objective) > rank(known[-1], self._objective):
                self._best = best_few([*known, (plan, row)], most, self._objective)

    @property
    def finalists(self) -> list[Done]:
        """Trials whose configurations are trained again, the best first; fewer where fewer were completed."""
        return [*self._best.values()][: self._count]

    @property
    def best(self) -> Done | None:
        """The choice: by their means among the finalists whose runs have all ended, before that the best trial."""
        means = {config_id: self._mean(config_id) for config_id in [*self._best][: self._count]}
        known = [(mean, self._best[one][0].trial_key, one) for one, mean in means.items() if mean is not None]
        chosen = max(known)[-1] if known else next(iter(self._best), None)
        return None if chosen is None else self._best[chosen]

    @property
    def chosen(self) -> list[Done]:
        """The choice as a list, empty where there is none."""
        return [self.best] if self.best else []

    def _mean(self, config_id: str) -> float | None:
        """Compute the mean score of all runs of a configuration; None while one of them has not ended."""
        runs = self._runs.get(config_id, {})
        if not all(seed in runs for seed in self._seeds):
            return None
        rows = [self._best[config_id][1], *(runs[seed] for seed in self._seeds)]
        return fmean(self._objective.score_of(row) for row in rows)


def best_few(searched: Iterable[Done], count: int, objective: Objective) -> dict[str, Done]:
    """Return the best completed trials by `config_id`, the best first, one of each configuration."""
    found: dict[str, Done] = {}
    for done in sorted(searched, key=lambda done: rank(done, objective), reverse=True):
        found.setdefault(done[0].config.config_id, done)
    return dict(itertools.islice(found.items(), count))


def rank(done: Done, objective: Objective) -> tuple[float, str]:
    """Return what completed trials are ordered by: the final metric, and the key, so that no order of ends matters."""
    plan, row = done
    return objective.sign * row["val_metric"], plan.trial_key
