"""Interface between a running study and its record, which is on disk, or in memory for a simulation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tune_qat.tuning.asha import Decision
from tune_qat.tuning.plan import PlannedTrial


class TrialRecord(Protocol):
    """Record that takes the rows of trials, and gives them back to a study that is resumed."""

    def started(self, plan: PlannedTrial) -> None:
        """Write a trial's row with status `running`."""

    def ended(
        self, plan: PlannedTrial, report: Mapping[str, Any], status: str, stop_reason: str | None
    ) -> dict[str, Any]:
        """Write a trial's final row, and return it."""

    def decided(self, decision: Decision) -> None:
        """Write a decision of ASHA."""

    def weights_hash(self, plan: PlannedTrial, epochs: int) -> str | None:
        """Return the hash of what a trial's checkpoint holds; None without one from after this number of epochs."""

    def epochs_of(self, trial_key: str) -> Sequence[Mapping[str, Any]]:
        """Read a trial's epochs in order, each as its last attempt left it."""

    def searched_epochs(self) -> Iterable[tuple[str, int, float | None]]:
        """Read trial, epoch and metric of every epoch, in the order of their attempts."""

    def decisions_of(self, trial_key: str) -> Mapping[int, str]:
        """Read what ASHA decided about a trial, `continue` or `stop`, by rung."""
