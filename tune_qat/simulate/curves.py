"""Learning curves of simulated trials, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tune_qat.config.statuses import COMPLETED
from tune_qat.study import Arm, Study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import Keys, PlannedTrial

Source = Literal["recorded", "neighbour", "formula"]
"""Origin of a curve: the same configuration in the record (any seed), the nearest one there, or a closed form."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Learning curve of a trial that nothing stops early."""

    metrics: Sequence[float | None]
    """Validation metric of each epoch; None where it was not finite."""
    seconds: Sequence[float]
    """Wall-clock time of each epoch."""
    device_seconds: Sequence[float]
    status: str
    """Status after the last epoch: completed or diverged."""
    source: Source
    known_epochs: int
    """Number of epochs that `source` has; later ones are extrapolated."""

    @property
    def end(self) -> float | None:
        """Final metric; None if the trial diverged."""
        return self.metrics[-1] if self.status == COMPLETED else None


class Curves(Keys, Protocol):
    """Source of the curves of a simulated study."""

    @property
    def objective(self) -> Objective:
        """Objective that trials are compared by."""

    def objectives(self, study: Study) -> Objectives:
        """Return the objectives of a study; `TuneQatError` where what its schemes cost is not known."""

    def start_sha256(self, number: int) -> str | None:
        """Return the hash of the weights of the start with this number; None from scratch."""

    def curve(self, plan: PlannedTrial) -> Curve:
        """Return the curve of a trial, the same at every call."""

    def worth(self, plan: PlannedTrial) -> float | None:
        """Return the final metric of a trial's configuration, without the noise of its seed if that is known."""

    def best(self, arm: Arm) -> float | None:
        """Return the best `worth` among the arm's configurations; None if it has none."""
