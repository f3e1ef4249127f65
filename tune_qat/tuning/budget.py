"""What a run may spend, what it has spent, and whether one more trial fits."""

import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tune_qat.config import UsageError

HOUR_S = 3600.0
TIME, TRIALS, GPU_HOURS = "time", "trials", "gpu_hours"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What a run has spent so far."""

    seconds: float
    """Since it began."""
    started: int
    """Trials, each once however often it went on."""
    ended: int
    held_s: float
    """Seconds that trials held their resources and hold them no more."""
    running_s: Sequence[float]
    """Seconds that each running trial has held its own."""
    usual_s: float
    """What one more trial would take."""
    gpus: float
    """GPUs of a trial."""

    @property
    def hours(self) -> float:
        """Hours that trials have held their resources, of all of them together."""
        return (self.held_s + sum(self.running_s)) / HOUR_S

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.hours


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a run may spend; None where there is no limit. Nothing that runs is stopped for it."""

    seconds: float | None = None
    """Trials should have ended this long after the run's start."""
    trials: int | None = None
    """Trials that this run may start."""
    gpu_hours: float | None = None
    """GPUs x hours that trials of this run may hold."""

    def reached(self, spent: Spent) -> str | None:
        """Which limit leaves no room for one more trial: `time`, `trials`, `gpu_hours` or None.

        A running trial is expected to take as long as usual, or as it has taken already where that is longer.
        """
        if self.trials is not None and spent.started >= self.trials:
            return TRIALS
        if self.seconds is not None and spent.seconds + spent.usual_s > self.seconds:
            return TIME
        running = sum(max(taken, spent.usual_s) for taken in spent.running_s)
        needed = spent.gpus * (spent.held_s + running + spent.usual_s)
        if self.gpu_hours is not None and needed > self.gpu_hours * HOUR_S:
            return GPU_HOURS
        return None


NO_LIMIT = Budget()


def check_countable(budget: Budget, gpus: float) -> None:
    """`UsageError` for a budget of GPU-hours where trials hold no GPU."""
    if budget.gpu_hours is not None and not gpus:
        raise UsageError(
            f"--gpu-hours {budget.gpu_hours:g}: trials of this run hold no GPU, so there are no GPU-hours to count. "
            "Use --time-budget, such as --time-budget 8h, or --trial-budget."
        )


class Meter:
    """Adds up what the trials of a run take. Knows a trial by its key; one that is lost and goes on has parts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The run begins now. `clock` gives seconds and never goes back."""
        self._clock = clock
        self._began = clock()
        self._since: dict[str, float] = {}
        self._earlier: dict[str, float] = {}
        self._whole: list[float] = []
        self._started: set[str] = set()
        self._held = 0.0
        self.gpus = 0.0

    def planned(self, trial_key: str) -> None:
        """A trial was handed out; it holds nothing yet."""
        self._started.add(trial_key)

    def begin(self, trial_key: str) -> None:
        """A trial has got its process."""
        self._since.setdefault(trial_key, self._clock())

    def lose(self, trial_key: str) -> None:
        """A trial's process is gone, and the trial goes on later."""
        part = self._clock() - self._since.pop(trial_key, self._clock())
        self._held += part
        self._earlier[trial_key] = self._earlier.get(trial_key, 0.0) + part

    def end(self, trial_key: str) -> None:
        """A trial has ended."""
        self.lose(trial_key)
        insort(self._whole, self._earlier.pop(trial_key))

    def spent(self) -> Spent:
        """As of now. Until a trial has ended, the longest that runs says what is usual."""
        now = self._clock()
        running = [now - since for since in self._since.values()]
        # The upper median of what is sorted already: this is asked before every trial.
        usual = self._whole[len(self._whole) // 2] if self._whole else max(running, default=0.0)
        return Spent(
            seconds=now - self._began,
            started=len(self._started),
            ended=len(self._whole),
            held_s=self._held,
            running_s=running,
            usual_s=usual,
            gpus=self.gpus,
        )
