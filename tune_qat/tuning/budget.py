"""Budget of a run: its limits, what has been spent, and whether one more trial fits."""

import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tune_qat.config import UsageError

HOUR_S = 3600.0
TIME, TRIALS, GPU_HOURS = "time", "trials", "gpu_hours"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """Time and trials that a run has spent so far."""

    seconds: float
    """Wall-clock time since the run began."""
    started: int
    """Trials that were started; a trial that lost its process counts once."""
    ended: int
    held_s: float
    """Seconds that trials held their resources, without the running ones."""
    running_s: Sequence[float]
    """Seconds that each running trial has held its resources."""
    usual_s: float
    """Expected seconds of one more trial."""
    gpus: float
    """GPUs of each trial."""

    @property
    def hours(self) -> float:
        """Hours that trials have held their resources, summed over trials."""
        return (self.held_s + sum(self.running_s)) / HOUR_S

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.hours


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits of a run, None for no limit. A limit keeps new trials from starting; running trials are not stopped."""

    seconds: float | None = None
    """Time after the run's start by which trials should have ended."""
    trials: int | None = None
    """Trials that this run may start."""
    gpu_hours: float | None = None
    """GPUs x hours that trials of this run may hold."""

    def reached(self, spent: Spent) -> str | None:
        """Return the limit that leaves no room for one more trial: `time`, `trials`, `gpu_hours`, or None.

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
    """Raise `UsageError` for a budget of GPU-hours if trials hold no GPU."""
    if budget.gpu_hours is not None and not gpus:
        raise UsageError(
            f"--gpu-hours {budget.gpu_hours:g}: trials of this run hold no GPU, so there are no GPU-hours to count. "
            "Use --time-budget, such as --time-budget 8h, or --trial-budget."
        )


class Meter:
    """Counter of the time that the trials of a run take. The parts of a trial that loses its process are added up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the run's time; `clock` gives seconds and never goes back."""
        self._clock, self._began = clock, clock()
        self._since: dict[str, float] = {}
        self._earlier: dict[str, float] = {}
        self._whole: list[float] = []
        self._started: set[str] = set()
        self._held = self.gpus = 0.0

    def planned(self, trial_key: str) -> None:
        """Count a trial that was handed out; it holds no resources yet."""
        self._started.add(trial_key)

    def begin(self, trial_key: str) -> None:
        """Start the time of a trial that has got its process."""
        self._since.setdefault(trial_key, self._clock())

    def lose(self, trial_key: str) -> None:
        """Stop the time of a trial whose process is gone; it goes on later."""
        part = self._clock() - self._since.pop(trial_key, self._clock())
        self._held += part
        self._earlier[trial_key] = self._earlier.get(trial_key, 0.0) + part

    def end(self, trial_key: str) -> None:
        self.lose(trial_key)
        insort(self._whole, self._earlier.pop(trial_key))

    def spent(self) -> Spent:
        """Return the totals of this moment. Before a trial has ended, the longest running one is the usual one."""
        now = self._clock()
        running = [now - since for since in self._since.values()]
        # The upper median of a sorted list, because this is called before every trial.
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
