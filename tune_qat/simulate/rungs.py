"""Would ASHA have kept the winner: what a rung says of the end."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr

from tune_qat.config.statuses import COMPLETED, RETRAIN, SEARCH
from tune_qat.simulate.loop import Simulation
from tune_qat.simulate.recorded_curves import Recorded
from tune_qat.study import Arm, Study
from tune_qat.tuning.asha import cutoff

FEW = 5
"""Curves below which a rank correlation says nothing."""
TOP = 3


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Curves of one arm that reach its end, as objectives: larger is better."""

    arm_id: str
    objectives: np.ndarray
    """Shape (curves, epochs)."""
    survivors: bool
    """Whether ASHA has had a say in which trials are among them."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What the epochs up to one rung say of the end, within one arm."""

    arm_id: str
    rung: int
    curves: int
    rank_correlation: float | None
    """Spearman's, of the metric at the rung with the final one; None where either is the same for all."""
    winner_kept: bool
    """Whether the upper 1/eta at this rung alone has the best curve, or one of several."""
    top_kept: float
    """Share of the best three that it has."""


def whole_curves(simulation: Simulation) -> list[Whole]:
    """The curves of each arm: recorded ones, or those of the simulated trials where a formula makes them."""
    curves = simulation.curves
    found = []
    for arm in simulation.study.arms():
        if isinstance(curves, Recorded):
            metrics, survivors = _of_record(curves, arm)
        else:
            runs = (run for run in simulation.runs if run.plan.arm_id == arm.arm_id and run.plan.stage != RETRAIN)
            metrics, survivors = [run.curve.metrics for run in runs if run.curve.status == COMPLETED], False
        objectives = [[curves.objective.of(one) for one in curve] for curve in metrics]
        if len(objectives) >= FEW:
            found.append(Whole(arm_id=arm.arm_id, objectives=np.array(objectives), survivors=survivors))
    return found


def _of_record(curves: Recorded, arm: Arm) -> tuple[list[Sequence[float | None]], bool]:
    """Those that nothing could stop, where there are enough; otherwise with the survivors of the search."""
    whole = curves.whole(arm)
    free = [trial for trial in whole if trial.stage != SEARCH or not curves.stopped_early]
    survivors = len(free) < FEW
    return [trial.metrics for trial in (whole if survivors else free)], survivors


def rungs(study: Study, found: Sequence[Whole]) -> list[Rung]:
    """A row for each arm and rung of the study."""
    factor = study.asha.reduction_factor
    return [_rung(whole, rung, factor) for whole in found for rung in study.rungs]


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
        winner_kept=bool(kept[end == end.max()].any()),
        top_kept=min(TOP, int((kept & best).sum())) / TOP,
    )


def _correlation(now: np.ndarray, end: np.ndarray) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are all the same, which NaN says as well
        value = float(spearmanr(now, end).statistic)
    return None if math.isnan(value) else value


def over_arms(rows: Sequence[Rung]) -> list[dict[str, object]]:
    """The rows of all arms together, one for each rung."""
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
