"""One study under several settings of ASHA, over several seeds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from tune_qat.simulate.curves import Curves
from tune_qat.simulate.loop import simulate
from tune_qat.simulate.summary import arms, cost, sources
from tune_qat.study import Study

GRACES = 4
"""First rungs that are tried: the largest powers of two up to half the epochs."""
FACTORS = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one setting came to, means over seeds; regrets and winners over the arms as well."""

    grace_epochs: int | None
    """None: no ASHA."""
    reduction_factor: int | None
    rungs: tuple[int, ...]
    own: bool
    """Whether it is the study's."""
    trials: float
    epochs: float
    hours: float
    device_hours: float
    without_result: float
    """Arms in which nothing had ended; they are in no regret."""
    regret: float | None
    error: float | None
    """Standard error of `regret` over seeds; None of one seed."""
    largest_regret: float | None
    """Of the arm that suffers most, its mean over seeds."""
    winners_lost: float | None
    """Share of arms whose best search trial was stopped, of those where that is known."""
    extrapolated: float
    """Share of the epochs."""


def settings(study: Study) -> Iterator[tuple[Study, bool]]:
    """The study with no ASHA, with its own setting, and over a grid; with True for its own."""
    yield _with(study, enabled=False), not study.asha.enabled
    own = (study.first_rung, study.asha.reduction_factor) if study.asha.enabled else None
    graces = [2**power for power in range(20) if 2 ** (power + 1) <= study.training.epochs][-GRACES:]
    grid = {(grace, factor) for grace in graces for factor in FACTORS} | ({own} if own else set())
    for grace, factor in sorted(grid):
        yield _with(study, enabled=True, grace_epochs=grace, reduction_factor=factor), (grace, factor) == own


def compare(
    study: Study, curves: Curves, *, workers: int, seeds: int, time_budget: float | None = None
) -> Iterator[Setting]:
    """Every setting over the same seeds, one by one as they are done.

    Seeds are those after the study's own, with which a record would find again what it has found.
    """
    for changed, own in settings(study):
        yield _measure(changed, own, curves, workers=workers, seeds=seeds, time_budget=time_budget)


def _measure(
    study: Study, own: bool, curves: Curves, *, workers: int, seeds: int, time_budget: float | None
) -> Setting:
    costs, tables, extrapolated = [], [], []
    for seed in range(study.seed + 1, study.seed + 1 + seeds):
        changed = study.model_copy(update={"seed": seed})
        done = simulate(changed, curves, workers=workers, time_budget=time_budget)
        costs.append(cost(done))
        tables.append(arms(done))
        extrapolated.append(sources(done).get("extrapolated", 0.0))
    each = [value for table in tables if (value := _mean(row["regret"] for row in table)) is not None]
    by_arm = [_mean(row["regret"] for row in rows) for rows in zip(*tables, strict=True)]
    rows = [row for table in tables for row in table]
    return Setting(
        grace_epochs=study.first_rung if study.asha.enabled else None,
        reduction_factor=study.asha.reduction_factor if study.asha.enabled else None,
        rungs=study.rungs,
        own=own,
        **{name: fmean(one[name] for one in costs) for name in ("trials", "epochs", "hours", "device_hours")},
        without_result=sum(row["regret"] is None for row in rows) / seeds,
        regret=_mean(each),
        error=stdev(each) / len(each) ** 0.5 if len(each) > 1 else None,
        largest_regret=max((value for value in by_arm if value is not None), default=None),
        winners_lost=_mean(float(row["winner"] == "stopped") for row in rows if row["winner"] in ("kept", "stopped")),
        extrapolated=fmean(extrapolated),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def choose(found: Sequence[Setting], margin: float, *, at_equal_time: bool) -> Setting | None:
    """The setting with the fewest epochs whose regret is within the margin of that without ASHA.

    `at_equal_time` epochs cost nothing more, and the one with the least regret is it. None where there is no regret
    to go by. Settings that leave more arms without a result than others do are out.
    """
    fewest = min(one.without_result for one in found)
    fit = [(one.regret, one) for one in found if one.regret is not None and one.without_result <= fewest]
    if at_equal_time:
        return min(fit, key=lambda item: (item[0], item[1].epochs), default=(None, None))[1]
    without = next((regret for regret, one in fit if one.grace_epochs is None), None)
    if without is None:
        return None
    return min((one for regret, one in fit if regret <= without + margin), key=lambda one: one.epochs)


def _with(study: Study, **asha: Any) -> Study:
    return study.model_copy(update={"asha": study.asha.model_copy(update=asha)})
