"""A study of another tool as it was found: parameters under its own names, trial statuses in our words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeGuard

from tune_qat.config import Range
from tune_qat.config.secrets import hide_secrets
from tune_qat.config.statuses import INTERRUPTED


@dataclass(frozen=True, kw_only=True)
class FoundTrial:
    """One trial of the other tool."""

    number: int
    parameters: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Values that the user stored beside the parameters (Optuna's user attributes)."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Range of each parameter for which the tool recorded one."""
    status: str
    """One of our statuses: completed, stopped, diverged, error or interrupted."""
    stop_reason: str | None = None
    reports: Mapping[int, float | None]
    """The metric by epoch, from 1; None where it was not finite."""
    result: float | None
    """The metric that the trial is judged by; None where it has none."""
    seconds: Mapping[int, float] = field(default_factory=dict)
    """Seconds from the trial's start to each epoch's report."""
    duration: float | None = None
    """Seconds that the whole trial took."""
    error_text: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def named(self) -> Mapping[str, Any]:
        """Parameters and attributes together; a parameter hides an attribute of the same name."""
        return {**self.attributes, **self.parameters}


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study of the other tool, with its trials in the order of their numbers."""

    tool: str
    """Name of the `tune-qat import` command: optuna or ray-tune."""
    version: str | None
    name: str
    found_in: str
    """Where it was found, without passwords and queries: a part of every trial's key, and shown by `shown_in` alone."""
    metric: str
    sign: int
    """1 where a larger metric is better, -1 where a smaller one is."""
    trials: Sequence[FoundTrial]
    planned: int
    """Number of trials that the study created, including those that never started."""
    lost: str = ""
    """Parts that could not be read, in words; empty if all could."""

    @property
    def shown_in(self) -> str:
        return hide_secrets(self.found_in)

    @property
    def origin(self) -> str:
        return f"{self.tool} {self.version}" if self.version else self.tool

    @property
    def complete(self) -> bool:
        ended = sum(trial.status != INTERRUPTED for trial in self.trials)
        return ended == self.planned


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: float | None) -> float | None:
    """Return the value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None
