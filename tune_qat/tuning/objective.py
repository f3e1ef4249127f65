"""Objective by which samplers and ASHA compare trials."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_qat.config.statuses import COMPLETED, ENDED_WELL

OBJECTIVE = "objective"
"""Ray Tune's name for the objective in a report: larger is better, always finite."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Direction of a metric, and the value that stands in for a missing one."""

    sign: int
    """1 where a larger metric is better, -1 where a smaller one is."""
    worst: float
    """Finite metric as bad as any: some, as errors, have no bound."""
    trivial: float | None = None
    """Validation metric of the constant predictor; None where a record does not say."""

    @classmethod
    def of_record(cls, arm: Mapping[str, Any]) -> "Objective":
        """Return the objective of a recorded arm: of earlier versions, which record no worst metric, all had 0."""
        sign, worst = arm["sign"], arm.get("worst_metric")
        if worst is None:
            worst = 0.0 if sign > 0 or arm["trivial_score"] is None else arm["trivial_score"]
        return cls(sign, worst, arm["trivial_score"])

    def of(self, metric: float | None) -> float:
        """Return the metric with its sign; `worst` stands in where it is missing, not finite or worse than that."""
        worst = self.sign * self.worst
        return max(worst, self.sign * metric) if metric is not None and math.isfinite(metric) else worst

    def score_of(self, row: Mapping[str, Any]) -> float:
        """Return what an ended trial counts in the choice of a configuration, with its sign.

        One that failed, diverged, was stopped or is no better than the constant predictor counts as that one.
        """
        constant = self.of(self.trivial)
        return max(constant, self.of(row["val_metric"])) if row["status"] == COMPLETED else constant

    def of_row(self, row: Mapping[str, Any]) -> float:
        """Return the objective of an ended trial; `worst` stands in unless it completed or was stopped early."""
        return self.of(row["val_metric"] if row["status"] in ENDED_WELL else None)
