"""What samplers and ASHA compare trials by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_qat.config.statuses import ENDED_WELL

OBJECTIVE = "objective"
"""What Ray Tune is told after each epoch: the metric with its sign, larger is better, always finite."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric's direction, and what stands in for it where there is none."""

    sign: int
    """1 where a larger metric is better, -1 where a smaller one is."""
    worst: float
    """A finite metric, no worse than which one can be."""

    def of(self, metric: float | None) -> float:
        """Give the metric its sign; the worst one where there is none, or it is not finite."""
        return self.sign * (metric if metric is not None and math.isfinite(metric) else self.worst)

    def of_row(self, row: Mapping[str, Any]) -> float:
        """Rate an ended trial by its row: the worst metric unless it completed or was stopped early."""
        return self.of(row["val_metric"] if row["status"] in ENDED_WELL else None)
