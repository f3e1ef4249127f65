"""One arm's ASHA. Ray Tune's own looks through a whole rung at every value, which a large record cannot wait for."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from tune_qat.config.statuses import ASHA, STOPPED

STOPPED_BY_ASHA = (STOPPED, ASHA)
"""Status and stop reason of a trial that was decided to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What ASHA decided about a trial at a rung, and on which values."""

    trial_key: str
    arm_id: str
    rung: int
    epoch: int
    value: float
    cutoff: float | None
    """What the value had to reach; None for the first of a rung, which always goes on."""
    n_in_rung: int
    """Values in the rung before this one."""
    action: str
    """continue or stop."""

    @property
    def stops(self) -> bool:
        return self.action == "stop"


@dataclass
class Rung:
    """The values at one epoch, in rising order, and whose they are."""

    values: list[float] = field(default_factory=list)
    trials: set[str] = field(default_factory=set)


class Asha:
    """The stopping variant: at a rung a trial goes on if it is in the upper 1/eta of those that came before it.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. The decisions are those of
    Ray Tune's `ASHAScheduler` with one bracket, which takes half a minute to refill the rungs of 100,000 trials.
    """

    def __init__(self, arm_id: str, epochs: Sequence[int], reduction_factor: float) -> None:
        """`epochs` are those at which a trial may be stopped, `reduction_factor` is eta."""
        self._arm_id = arm_id
        self.rungs = {epoch: Rung() for epoch in epochs}
        self._factor = reduction_factor

    def put(self, trial_key: str, epoch: int, value: float) -> Decision | None:
        """Put a finite value, of which larger is better, into the rung of this epoch.

        None where there is no such rung, or the trial is in it already.
        """
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
            action="continue" if limit is None or value >= limit else "stop",
        )
        rung.trials.add(trial_key)
        insort(rung.values, value)
        return decision


def cutoff(rising: Sequence[float], reduction_factor: float) -> float | None:
    """The upper 1/eta quantile of sorted values, linear, to the last bit numpy's; None where there are none."""
    if not len(rising):
        return None
    # Percent and back, and from the nearer end, as numpy has it.
    position = (len(rising) - 1) * ((1 - 1 / reduction_factor) * 100 / 100)
    below = int(position)
    low, high, part = rising[below], rising[min(below + 1, len(rising) - 1)], position - below
    return float(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
