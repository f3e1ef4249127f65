"""Comparison of ASHA settings on one study, over several seeds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from tune_qat.results.early_stopping import Kept, Unstopped, earliest_that_holds, kept_at
from tune_qat.simulate.curves import Curves
from tune_qat.simulate.loop import Simulation, simulate
from tune_qat.simulate.summary import arms, cost, sources
from tune_qat.study import Study

GRACES = 4
"""Number of first rungs that are tried: the largest powers of two up to half the epochs."""
FACTORS = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Results of one ASHA setting: means over seeds, and for regret and winners over arms as well."""

    grace_epochs: int | None
    """First rung; None without ASHA."""
    reduction_factor: int | None
    rungs: tuple[int, ...]
    own: bool
    """Whether it is the study's own setting."""
    trials: float
    epochs: float
    hours: float
    device_hours: float
    without_result: float
    """Number of arms without a completed trial; regrets leave them out."""
    regret: float | None
    error: float | None
    """Standard error of `regret` over seeds; None with one seed."""
    largest_regret: float | None
    """Mean over seeds of the arm with the largest regret."""
    winners_lost: float | None
    """Fraction of arms whose best search trial was stopped, among those where that is known."""
    extrapolated: float
    """Fraction of extrapolated epochs."""
    best_kept: Kept | None
    """Evidence on the first rung, where there is one."""

    @property
    def refuted(self) -> bool:
        """Whether `run` would refuse the first rung."""
        return self.best_kept is not None and self.best_kept.refuted


def settings(study: Study, earliest: int | None = None) -> Iterator[tuple[Study, bool]]:
    """Yield the study without ASHA and with every setting of a grid; True marks the study's own setting.

    The `earliest` first rung that holds is one of them, with the study's own reduction factor.
    """
    yield _with(study, enabled=False), not study.asha.enabled
    own = (study.first_rung, study.asha.reduction_factor) if study.asha.enabled else None
    graces = [2**power for power in range(20) if 2 ** (power + 1) <= study.training.epochs][-GRACES:]
    grid = {(grace, factor) for grace in graces for factor in FACTORS} | ({own} if own else set())
    grid |= {(earliest, study.asha.reduction_factor)} if earliest else set()
    for grace, factor in sorted(grid):
        yield _with(study, enabled=True, grace_epochs=grace, reduction_factor=factor), (grace, factor) == own


def compare(
    study: Study,
    curves: Curves,
    evidence: Sequence[Sequence[Unstopped]],
    *,
    workers: int,
    seeds: int,
    time_budget: float | None = None,
) -> Iterator[Setting]:
    """Yield the results of every setting as soon as they are there, all over the same seeds.

    The seeds follow the study's own, with which a record would only reproduce itself. `evidence` on first rungs is that
    of `rungs.evidence`.
    """
    earliest = earliest_that_holds(evidence, study.training.epochs, study.asha.reduction_factor)
    for changed, own in settings(study, earliest.rung if earliest else None):
        # The designs that the study began with are those of its own seed.
        free = changed.going_on(replace(changed.begun, design_seeds={}))
        seeded = (free.model_copy(update={"seed": study.seed + 1 + offset}) for offset in range(seeds))
        done = (simulate(one, curves, workers=workers, time_budget=time_budget) for one in seeded)
        first = kept_at(changed.first_rung, evidence, changed.asha.reduction_factor) if changed.rungs else None
        yield _means(changed, own, done, first)


def _means(study: Study, own: bool, simulations: Iterable[Simulation], first: Kept | None) -> Setting:
    found = [(cost(done), arms(done), sources(done).get("extrapolated", 0.0)) for done in simulations]
    costs, tables, extrapolated = zip(*found, strict=True)
    each = [value for table in tables if (value := _mean(row["regret"] for row in table)) is not None]
    by_arm = [_mean(row["regret"] for row in rows) for rows in zip(*tables, strict=True)]
    rows = [row for table in tables for row in table]
    return Setting(
        grace_epochs=study.first_rung if study.asha.enabled else None,
        reduction_factor=study.asha.reduction_factor if study.asha.enabled else None,
        rungs=study.rungs,
        own=own,
        **{name: fmean(one[name] for one in costs) for name in ("trials", "epochs", "hours", "device_hours")},
        without_result=sum(row["regret"] is None for row in rows) / len(found),
        regret=_mean(each),
        error=stdev(each) / len(each) ** 0.5 if len(each) > 1 else None,
        largest_regret=max((value for value in by_arm if value is not None), default=None),
        winners_lost=_mean(float(row["winner"] == "stopped") for row in rows if row["winner"] in ("kept", "stopped")),
        extrapolated=fmean(extrapolated),
        best_kept=first,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def choose(found: Sequence[Setting], margin: float, *, at_equal_time: bool) -> Setting | None:
    """Choose the setting with the fewest epochs whose regret is within the margin of the regret without ASHA.

    `at_equal_time` it is the setting with the least regret, because all spend the same time. A setting that leaves more
    arms without a result than another is ruled out, and so is one whose first rung is refuted. None if no regret is
    known.
    """
    fewest = min(one.without_result for one in found)
    sound = [one for one in found if not one.refuted and one.without_result <= fewest]
    fit = [(one.regret, one) for one in sound if one.regret is not None]
    if at_equal_time:
        return min(fit, key=lambda item: (item[0], item[1].epochs), default=(None, None))[1]
    without = next((regret for regret, one in fit if one.grace_epochs is None), None)
    if without is None:
        return None
    return min((one for regret, one in fit if regret <= without + margin), key=lambda one: one.epochs)


def _with(study: Study, **asha: Any) -> Study:
    return study.model_copy(update={"asha": study.asha.model_copy(update=asha)})
