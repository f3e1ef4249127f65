"""ASHA with sorted rungs: Ray's own looks through a whole rung at every value, which a large record cannot wait for."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_qat.tuning.search import OBJECTIVE


@dataclass
class Rung:
    """The values at one epoch, in rising order, and whose they are."""

    values: list[float] = field(default_factory=list)
    trials: set[str] = field(default_factory=set)


class Asha(FIFOScheduler):
    """One arm's ASHA, stopping variant; a larger objective is better.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. The decisions are those of
    Ray Tune's `ASHAScheduler` with one bracket, which takes 20 s to refill rungs with 100,000 trials in 20 arms.
    """

    def __init__(self, epochs: Sequence[int], reduction_factor: float) -> None:
        """`epochs` are those at which a trial may be stopped."""
        super().__init__()
        self.rungs = {epoch: Rung() for epoch in epochs}
        self._fraction = 1 - 1 / reduction_factor

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial whose objective, which is finite, is below the quantile of those in its rung before it."""
        rung = self.rungs.get(result.get("epoch", 0))
        if rung is None or trial.trial_id in rung.trials:
            return TrialScheduler.CONTINUE
        value = result[OBJECTIVE]
        goes_on = not rung.values or value >= quantile(rung.values, self._fraction)
        rung.trials.add(trial.trial_id)
        insort(rung.values, value)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A value that ended its trial is in the rung, too."""
        self.on_trial_result(tune_controller, trial, result)


def quantile(rising: Sequence[float], fraction: float) -> float:
    """Linear quantile of sorted values, to the last bit that of `numpy.percentile(rising, 100 * fraction)`."""
    # Percent and back, and from the nearer end, as numpy has it.
    position = (len(rising) - 1) * (fraction * 100 / 100)
    below = int(position)
    low, high, part = rising[below], rising[min(below + 1, len(rising) - 1)], position - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
