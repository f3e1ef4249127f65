"""Agreement of ASHA's rungs with the final metric: rank correlation, and whether the best trial is kept.

The evidence on first rungs is that of a run, from default and random trials alone; the other rows are of whole curves.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr

from tune_qat.config.statuses import COMPLETED, DEFAULT, RANDOM, SEARCH, SEARCHED_STAGES
from tune_qat.results.early_stopping import Kept, Unstopped, earliest_that_holds, keeps_best
from tune_qat.simulate.loop import Simulation
from tune_qat.simulate.recorded_curves import Recorded, unstopped
from tune_qat.study import Arm, Study
from tune_qat.tuning.asha import cutoff

FEW = 5
"""Number of curves below which a rank correlation is meaningless."""
TOP = 3


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Whole curves of one arm, as objectives: larger is better."""

    arm_id: str
    objectives: np.ndarray
    """Objectives, shape (curves, epochs)."""
    survivors: bool
    """Whether ASHA stopped other trials, so that the curves are biased to good ones."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Agreement of one rung with the final metric, within one arm."""

    arm_id: str
    rung: int
    curves: int
    rank_correlation: float | None
    """Spearman's correlation of the metric at the rung with the final one; None where either is constant."""
    winner_kept: bool
    """Whether the upper 1/eta at this rung holds the best curve, or one of the best."""
    top_kept: float
    """Fraction of the best three that the upper 1/eta holds."""


def whole_curves(simulation: Simulation) -> list[Whole]:
    """Return the whole curves of each arm: those of the record, or of the simulated trials with a formula."""
    curves = simulation.curves
    found = []
    for arm in simulation.study.arms():
        if isinstance(curves, Recorded):
            metrics, survivors = _of_record(curves, arm)
        else:
            own = (run for run in simulation.runs if run.plan.arm_id == arm.arm_id)
            runs = (run for run in own if run.plan.stage in SEARCHED_STAGES)
            metrics, survivors = [run.curve.metrics for run in runs if run.curve.status == COMPLETED], False
        objectives = [[curves.objective.of(one) for one in curve] for curve in metrics]
        if len(objectives) >= FEW:
            found.append(Whole(arm_id=arm.arm_id, objectives=np.array(objectives), survivors=survivors))
    return found


def _of_record(curves: Recorded, arm: Arm) -> tuple[list[Sequence[float | None]], bool]:
    """Return the curves of trials that ASHA could not stop; if there are few, survivors of the search as well."""
    whole = curves.whole(arm)
    free = [trial for trial in whole if trial.stage != SEARCH or not curves.stopped_early]
    survivors = len(free) < FEW
    return [trial.metrics for trial in (whole if survivors else free)], survivors


def evidence(simulation: Simulation) -> list[list[Unstopped]]:
    """Return the default and random trials of each arm: those of the record, or the simulated ones with a formula."""
    curves, arms = simulation.curves, simulation.study.arms()
    if isinstance(curves, Recorded):
        return [curves.unstopped(arm) for arm in arms]
    free = [run for run in simulation.runs if run.plan.stage in (DEFAULT, RANDOM)]
    ends = [(run.plan.arm_id, unstopped(run.curve, curves.objective)) for run in free]
    return [[trial for arm_id, trial in ends if arm_id == arm.arm_id] for arm in arms]


def earliest(simulation: Simulation) -> Kept | None:
    """Find the earliest first rung that holds with the study's reduction factor; None if none does or is known."""
    study = simulation.study
    return earliest_that_holds(evidence(simulation), study.training.epochs, study.asha.reduction_factor)


def rungs(study: Study, found: Sequence[Whole]) -> list[Rung]:
    """Compute a row for each arm and rung of the study."""
    return [_rung(whole, rung, study.asha.reduction_factor) for whole in found for rung in study.rungs]


def _rung(whole: Whole, rung: int, factor: int) -> Rung:
    now, end = whole.objectives[:, rung - 1], whole.objectives[:, -1]
    limit = cutoff(sorted(now), factor)
    kept = now >= (-math.inf if limit is None else limit)
    best = end >= np.sort(end)[-TOP]
    return Rung(
        arm_id=whole.arm_id,
        rung=rung,
        curves=len(end),
        rank_correlation=_correlation(now, end),
        winner_kept=keeps_best(now.tolist(), end.tolist(), factor),
        top_kept=min(TOP, int((kept & best).sum())) / TOP,
    )


def _correlation(now: np.ndarray, end: np.ndarray) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant values give NaN, and a warning
        value = float(spearmanr(now, end).statistic)
    return None if math.isnan(value) else value


def over_arms(rows: Sequence[Rung]) -> list[dict[str, object]]:
    """Merge the rows of all arms into one for each rung."""
    found: list[dict[str, object]] = []
    for rung in sorted({row.rung for row in rows}):
        here = [row for row in rows if row.rung == rung]
        known = [row.rank_correlation for row in here if row.rank_correlation is not None]
        found.append(
            {
                "rung": rung,
                "arms": len(here),
                "curves": sum(row.curves for row in here),
                "rank_correlation": fmean(known) if known else None,
                "lowest": min(known, default=None),
                "winner_kept": sum(row.winner_kept for row in here),
                "top_kept": fmean(row.top_kept for row in here),
            }
        )
    return found
