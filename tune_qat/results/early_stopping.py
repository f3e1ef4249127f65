"""Evidence on a rung of ASHA: does the share of an arm's trials that goes on there hold the one that ends best?

It comes from the default and random trials, which nothing stops. The bundled question `rung_correlation` has the same
definition in SQL.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRIALS, ARMS = 8, 5
"""Least evidence for a judgement: trials that nothing stopped, in each of so many arms."""
AT_RUNG = 3
"""Least number of them that have a value at the rung."""
SHARE = 0.8
"""Share of arms whose later best a rung has to keep."""
LEVEL = 0.9
"""Level of the exact interval of that share."""


@dataclass(frozen=True, slots=True)
class Unstopped:
    """Validation metrics of a trial that nothing stopped, with their sign: larger is better."""

    epochs: Sequence[float | None]
    """One after each epoch that the trial has run; None where it was not finite."""
    end: float
    """The last one; that of the constant predictor if the trial has failed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Number of arms whose later best goes on at a rung."""

    rung: int
    kept: int
    arms: int
    """Arms with enough trials to count."""

    @property
    def enough(self) -> bool:
        """Whether there are enough arms for a judgement."""
        return self.arms >= ARMS

    @property
    def refuted(self) -> bool:
        """Whether the whole interval of the share lies below `SHARE`."""
        return self.enough and exact_interval(self.kept, self.arms)[1] < SHARE

    @property
    def figures(self) -> str:
        """Count, share and interval in words."""
        low, high = exact_interval(self.kept, self.arms)
        share = f"{self.kept / self.arms:.0%}, exact {LEVEL:.0%} interval {low:.0%} to {high:.0%}"
        return f"{self.kept} of {self.arms} arms ({share})"


def exact_interval(count: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute the exact interval of a share, `count` of n > 0 (Clopper and Pearson, Biometrika 1934)."""
    from scipy.special import betaincinv  # not at the top: it takes a while to import

    tail = (1 - level) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return low, high


def keeps_best(now: Sequence[float], end: Sequence[float], reduction_factor: float) -> bool:
    """Tell whether the trial that ends best is in the share that goes on, one in `reduction_factor`, rounded up.

    Of several that end best alike it is about the one that is best `now`, at the rung; equal values share a place.
    """
    _, best = max(zip(end, now, strict=True))
    return 1 + sum(value > best for value in now) <= math.ceil(len(now) / reduction_factor)


def kept_at(rung: int, arms: Iterable[Sequence[Unstopped]], reduction_factor: float) -> Kept:
    """Count the arms whose later best goes on at a rung, of those with enough trials; some may not have got there."""
    found = []
    for trials in arms:
        there = [(value, one.end) for one in trials if (value := _at(rung, one)) is not None]
        if len(trials) >= TRIALS and len(there) >= AT_RUNG:
            now, end = zip(*there, strict=True)
            found.append(keeps_best(now, end, reduction_factor))
    return Kept(rung, sum(found), len(found))


def earliest_that_holds(arms: Sequence[Sequence[Unstopped]], epochs: int, reduction_factor: float) -> Kept | None:
    """Find the first epoch before the last that is not refuted, nor is any after it; None without one.

    None, too, where the evidence is not enough.
    """
    earliest = None
    for rung in range(epochs - 1, 0, -1):
        found = kept_at(rung, arms, reduction_factor)
        if found.refuted:
            break
        earliest = found if found.enough else earliest
    return earliest


def _at(rung: int, trial: Unstopped) -> float | None:
    return trial.epochs[rung - 1] if rung <= len(trial.epochs) else None
