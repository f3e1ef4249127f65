"""Checkpoints of trials that have ended: which of them stay (`stages.keep`)."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from tune_qat.config import Scheme
from tune_qat.config.statuses import COMPLETED, KEPT_STAGES, PRETRAIN, RETRAIN
from tune_qat.study import Study
from tune_qat.study.search_sections import BEST
from tune_qat.tuning.finalists import Done
from tune_qat.tuning.plan import PlannedTrial


class Kept:
    """Checkpoints that stay, told of trials whose rows are written; with `keep = "best"` it knows each arm's best.

    Of several objectives that of each scheme, among which are the points of the front.
    """

    def __init__(self, study: Study, sign: int) -> None:
        self._study, self._sign = study, sign
        self._best: dict[tuple[str, Scheme | None], Done] = {}

    def superseded(self, plan: PlannedTrial, row: Mapping[str, Any]) -> list[PlannedTrial]:
        """Return the trials whose checkpoints go now that this row is there: its own, or that of one it replaces."""
        if plan.stage not in self._study.kept_stages:
            return [plan]
        if self._study.keep != BEST or plan.stage == PRETRAIN:
            # A start and a retrain trial keep theirs however they ended, as they always have.
            return [] if row["status"] == COMPLETED or plan.stage in KEPT_STAGES else [plan]
        if row["status"] != COMPLETED or row.get("checkpoint_sha256") is None or row["val_metric"] is None:
            return [] if row["status"] == COMPLETED else [plan]  # records of earlier versions have no hash
        place = plan.arm_id, plan.config.scheme if self._study.search.objectives else None
        known = self._best.get(place)
        if known is None or known[0].trial_key == plan.trial_key or self._replaces((plan, row), known):
            self._best[place] = plan, row
            return [] if known is None or known[0].trial_key == plan.trial_key else [known[0]]
        return [plan]

    def swept(self, done: Iterable[Done], chosen: Container[str]) -> list[PlannedTrial]:
        """Return the recorded trials of an arm whose checkpoints go; the arm has chosen the configurations `chosen`."""
        ordered = sorted(done, key=lambda one: one[0].config.config_id in chosen)
        return [gone for plan, row in ordered for gone in self.superseded(plan, row)]

    def _replaces(self, new: Done, known: Done) -> bool:
        """Tell whether the new trial is better, or retrains another choice of the arm than the known one did."""
        if new[0].stage == RETRAIN and new[0].config.config_id != known[0].config.config_id:
            return True
        before, after = ((self._sign * row["val_metric"], plan.trial_key) for plan, row in (known, new))
        return after > before
