"""Outcome of a run of a study, for the command line and for a notebook."""

from collections.abc import Iterator
from dataclasses import dataclass

from tune_qat.storage.paths import StoragePath
from tune_qat.text.html import html_table
from tune_qat.tuning.budget import Spent


@dataclass(frozen=True, kw_only=True)
class Outcome:
    study_id: str
    results: StoragePath
    complete: bool
    stopped_by: str | None
    """Cause of an early end: user or budget."""
    seconds: float
    budget: str | None = None
    """Budget that stopped the run: time, trials or gpu_hours."""
    spent: Spent | None = None
    left: int = 0
    """Planned trials that have not ended."""

    def _repr_html_(self) -> str:
        """Return the outcome as a table, which a notebook shows."""
        return html_table(f"Study {self.study_id}", self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        ended = {"user": "stopped by Ctrl-C or a signal", "budget": f"the budget of {self.budget or 'time'} is spent"}
        yield "state", "complete" if self.complete else ended.get(self.stopped_by or "", "not complete")
        yield "time", f"{self.seconds / 60:.1f} min"
        if self.spent is not None:
            hours = f"{self.spent.gpu_hours:.2f} GPU-hours" if self.spent.gpus else f"{self.spent.hours:.2f} hours"
            yield "trials that ended in this run", f"{self.spent.ended} ({hours})"
        yield "trials left", str(self.left)
        yield "record", str(self.results)
        yield "leaderboard", f'analysis.frame("{self.results}", "leaderboard")'
