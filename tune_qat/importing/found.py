"""A study of another tool as it was found: its own names, our words for how trials ended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tune_qat.config import Range


@dataclass(frozen=True, kw_only=True)
class FoundTrial:
    """One trial."""

    number: int
    parameters: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What its user noted beside the parameters."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """What parameters were drawn from, by name; those that are known."""
    status: str
    """In our words: completed, stopped, diverged, error or interrupted."""
    stop_reason: str | None = None
    reports: Mapping[int, float | None]
    """The metric by epoch, from 1; None where it was not finite."""
    result: float | None
    """The metric that the trial is judged by; None where it has none."""
    seconds: Mapping[int, float] = field(default_factory=dict)
    """Since the trial's start, by epoch."""
    duration: float | None = None
    """Seconds of the whole trial."""
    error_text: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def named(self) -> Mapping[str, Any]:
        """Parameters and attributes; of the same name, the parameter."""
        return {**self.attributes, **self.parameters}


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study and its trials, by number."""

    tool: str
    """As in the command: optuna or ray-tune."""
    version: str | None
    name: str
    place: str
    """Where it was found, without passwords."""
    metric: str
    sign: int
    """1: larger is better; -1: smaller is."""
    trials: Sequence[FoundTrial]
    planned: int
    """Trials that were asked for, those that never began among them."""

    @property
    def origin(self) -> str:
        return f"{self.tool} {self.version}" if self.version else self.tool

    @property
    def complete(self) -> bool:
        ended = sum(trial.status != "interrupted" for trial in self.trials)
        return ended == self.planned


def finite(value: float | None) -> float | None:
    """The value; None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None
