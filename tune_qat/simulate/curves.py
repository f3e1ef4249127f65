"""What a simulated trial would have reported: its curve, and where that comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tune_qat.config import TrialConfig
from tune_qat.config.statuses import COMPLETED
from tune_qat.study import Arm
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import Plan

Source = Literal["recorded", "neighbour", "formula"]
"""The same configuration in the record (perhaps with another seed), the nearest one there, or a closed form."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A trial from its first epoch to its own end, as if nothing stopped it."""

    metrics: Sequence[float | None]
    """Validation metric of each epoch; None where it was not finite."""
    seconds: Sequence[float]
    """Of each epoch, on the clock."""
    device_seconds: Sequence[float]
    status: str
    """After the last epoch: completed or diverged."""
    source: Source
    known_epochs: int
    """Epochs that `source` has; those after it are extrapolated."""

    @property
    def end(self) -> float | None:
        """The metric that the trial ends with."""
        return self.metrics[-1] if self.status == COMPLETED else None


class Curves(Protocol):
    """Where the curves of a simulated study come from."""

    @property
    def objective(self) -> Objective:
        """What trials are compared by."""

    @property
    def init_sha256(self) -> str | None:
        """Of the weights that trials start from; None from scratch."""

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        """The trial's key."""

    def curve(self, plan: Plan) -> Curve:
        """The curve of a trial; the same whenever it is asked for."""

    def worth(self, plan: Plan) -> float | None:
        """The final metric of a trial's configuration, without the noise of its seed where that is known."""

    def best(self, arm: Arm) -> float | None:
        """The best `worth` that the arm's configurations have; None where it has none."""
