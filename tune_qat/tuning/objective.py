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
    """Worst possible metric, as a finite number."""
    trivial: float | None = None
    """Validation metric of the constant predictor; None where a record does not say."""

    def of(self, metric: float | None) -> float:
        """Return the metric with its sign; `worst` stands in where it is missing or not finite."""
        return self.sign * (metric if metric is not None and math.isfinite(metric) else self.worst)

    def score_of(self, row: Mapping[str, Any]) -> float:
        """Return what an ended trial counts in the choice of a configuration, with its sign.

        One that failed, diverged, was stopped or is no better than the constant predictor counts as that one.
        """
        constant = self.of(self.trivial)
        return max(constant, self.of(row["val_metric"])) if row["status"] == COMPLETED else constant

    def of_row(self, row: Mapping[str, Any]) -> float:
        """Return the objective of an ended trial; `worst` stands in unless it completed or was stopped early."""
        return self.of(row["val_metric"] if row["status"] in ENDED_WELL else None)
