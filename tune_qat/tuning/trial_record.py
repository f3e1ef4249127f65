"""What a running study needs of its record: the one on disk has it, and that of a simulation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tune_qat.tuning.asha import Decision
from tune_qat.tuning.plan import Plan


class TrialRecord(Protocol):
    """Place where rows of trials go, and where a study that goes on finds them."""

    def started(self, plan: Plan) -> None:
        """Write that a trial runs."""

    def ended(self, plan: Plan, report: Mapping[str, Any], status: str, stop_reason: str | None) -> dict[str, Any]:
        """Write how a trial ended, and give its row."""

    def decided(self, decision: Decision) -> None:
        """Write what ASHA decided about a trial at a rung."""

    def weights_hash(self, plan: Plan) -> str:
        """Hash the weights that a trial ended with."""

    def epochs_of(self, trial_key: str) -> Sequence[Mapping[str, Any]]:
        """Read a trial's epochs in order, each as its last attempt left it."""

    def searched_epochs(self) -> Iterable[tuple[str, int, float | None]]:
        """Read trial, epoch and metric of every epoch, in the order of their attempts."""

    def stopped_at(self, trial_key: str) -> int | None:
        """Find the epoch at which ASHA has decided to stop a trial; None where it has not."""
