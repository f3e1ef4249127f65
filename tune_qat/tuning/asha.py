"""ASHA (asynchronous successive halving) of one arm, faster than Ray Tune's, which scans a rung at every value."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from tune_qat.config.statuses import ASHA, STOPPED

CONTINUE, STOP = "continue", "stop"
STOPPED_BY_ASHA = (STOPPED, ASHA)
"""Status and stop reason of a trial that ASHA stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """ASHA's decision about a trial at a rung, with the values that it rests on."""

    trial_key: str
    arm_id: str
    rung: int
    epoch: int
    value: float
    cutoff: float | None
    """Value to reach; None for the first trial of a rung, which always goes on."""
    n_in_rung: int
    """Number of values in the rung before this one."""
    action: str
    """continue or stop."""

    @property
    def stops(self) -> bool:
        return self.action == STOP


@dataclass
class Rung:
    """Values of one rung in rising order, and the trials that they belong to."""

    values: list[float] = field(default_factory=list)
    trials: set[str] = field(default_factory=set)


class Asha:
    """Stopping variant of ASHA: at a rung a trial goes on if it is in the upper 1/eta of those before it.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. The decisions are those of
    Ray Tune's `ASHAScheduler` with one bracket, which takes half a minute to refill the rungs of 100,000 trials.
    """

    def __init__(self, arm_id: str, epochs: Sequence[int], reduction_factor: float) -> None:
        """Put a rung at each of the `epochs`; `reduction_factor` is eta."""
        self._arm_id, self._factor = arm_id, reduction_factor
        self.rungs = {epoch: Rung() for epoch in epochs}

    def put(self, trial_key: str, epoch: int, value: float) -> Decision | None:
        """Put a finite objective into the rung of its epoch; None without such a rung, or if the trial is in it."""
        rung = self.rungs.get(epoch)
        if rung is None or trial_key in rung.trials:
            return None
        limit = cutoff(rung.values, self._factor)
        decision = Decision(
            trial_key=trial_key,
            arm_id=self._arm_id,
            rung=epoch,
            epoch=epoch,
            value=value,
            cutoff=limit,
            n_in_rung=len(rung.values),
            action=CONTINUE if limit is None or value >= limit else STOP,
        )
        rung.trials.add(trial_key)
        insort(rung.values, value)
        return decision


def cutoff(rising: Sequence[float], reduction_factor: float) -> float | None:
    """Return the upper 1/eta quantile of sorted values, bit for bit numpy's linear one; None without values."""
    if not len(rising):
        return None
    # Through percent, and from the nearer end: numpy rounds in this order.
    position = (len(rising) - 1) * ((1 - 1 / reduction_factor) * 100 / 100)
    below = int(position)
    low, high, part = rising[below], rising[min(below + 1, len(rising) - 1)], position - below
    return float(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
