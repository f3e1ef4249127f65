"""Summary of a simulated study: cost, arms, results over time, and the origin of its curves."""

from collections import Counter
from statistics import fmean
from typing import Any

from tune_qat.config.statuses import DIVERGED, SEARCH, STOPPED, WITH_CURVE
from tune_qat.simulate.loop import Run, Simulation
from tune_qat.study import Arm
from tune_qat.study.cost import stage_epochs
from tune_qat.tuning.arm_choices import selection_of

STEPS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Fractions of the simulated time for which results are shown."""


def cost(simulation: Simulation) -> dict[str, Any]:
    """Count trials, epochs and hours, and those of the same trials if nothing stopped them."""
    runs = simulation.runs
    outcomes = Counter(run.status for run in runs)
    return {
        "trials": len(runs),
        "planned": sum(trials for _, trials, _ in stage_epochs(simulation.study)),
        **{status: outcomes[status] for status in WITH_CURVE},
        "epochs": sum(run.epoch for run in runs),
        "epochs_without_asha": sum(len(run.curve.metrics) for run in runs),
        "hours": simulation.now / 3600,
        "device_hours": sum(sum(run.curve.device_seconds[: run.epoch]) for run in runs) / 3600,
        "device_hours_without_asha": sum(sum(run.curve.device_seconds) for run in runs) / 3600,
    }


def sources(simulation: Simulation) -> dict[str, float]:
    """Return the fraction of the epochs by origin: recorded, neighbour, formula, extrapolated."""
    epochs: Counter[str] = Counter()
    for run in simulation.runs:
        beyond = max(0, run.epoch - run.curve.known_epochs)
        epochs[run.curve.source] += run.epoch - beyond
        epochs["extrapolated"] += beyond
    return {name: count / max(1, epochs.total()) for name, count in epochs.items()}


def arms(simulation: Simulation) -> list[dict[str, Any]]:
    return [_arm(simulation, arm) for arm in simulation.study.arms()]


def _arm(simulation: Simulation, arm: Arm) -> dict[str, Any]:
    runs = _runs_of(simulation, arm)
    found = best_run(simulation, arm, simulation.now)
    winner, lost_at = _winner(simulation, runs)
    return {
        "arm": arm.arm_id,
        "trials": len(runs),
        "stopped": sum(run.status == STOPPED for run in runs),
        "diverged": sum(run.status == DIVERGED for run in runs),
        "epochs": sum(run.epoch for run in runs),
        "without_asha": sum(len(run.curve.metrics) for run in runs),
        "best": found.curve.end if found else None,
        "regret": regret(simulation, arm, found),
        "winner": winner,
        "lost_at": lost_at,
    }


def _runs_of(simulation: Simulation, arm: Arm) -> list[Run]:
    return [run for run in simulation.runs if run.plan.arm_id == arm.arm_id]


def best_run(simulation: Simulation, arm: Arm, by: float) -> Run | None:
    """Find the trial that the arm would choose at the time `by`, of those that had ended.

    With several objectives that of the front which has the best metric.
    """
    found = selection_of(simulation.study, arm, simulation.curves.objective, simulation.queue.objectives)
    ended = [run for run in _runs_of(simulation, arm) if run.ended_at is not None and run.ended_at <= by]
    for run in ended:
        found.note(run.plan, {"status": run.status, "val_metric": run.curve.end})
    best = found.best
    return next((run for run in ended if best and run.plan.trial_key == best[0].trial_key), None)


def fronts(simulation: Simulation) -> list[dict[str, Any]]:
    """Return the points that each arm of a study with several objectives has chosen, the best metric first."""
    costs = simulation.queue.objectives
    return [
        {
            "arm": arm_id,
            "bits": plan.config.scheme.label,
            "optimizer": plan.config.optimizer,
            "metric": row["val_metric"],
            **dict(zip(costs.costs, costs.cost_of(plan.config.scheme), strict=True)),
        }
        for arm_id, state in simulation.queue.arms.items()
        for plan, row in state.choices
    ]


def regret(simulation: Simulation, arm: Arm, found: Run | None) -> float | None:
    """Return by how much the arm's best configuration beats the found one; None if either is missing."""
    best = simulation.curves.best(arm)
    worth = simulation.curves.worth(found.plan) if found else None
    return None if best is None or worth is None else simulation.curves.objective.sign * (best - worth)


def _winner(simulation: Simulation, runs: list[Run]) -> tuple[str | None, int | None]:
    """Tell what ASHA did with the search trial whose whole curve ends best, and at which epoch it stopped it.

    The answer is kept, stopped, or unknown if the end of the curve is extrapolated; None if no search trial has an end.
    Of equal trials it is about a kept one.
    """
    sign = simulation.curves.objective.sign
    ends = [run for run in runs if run.plan.stage == SEARCH and run.curve.end is not None]
    best = max(ends, key=lambda run: (sign * (run.curve.end or 0.0), run.status != STOPPED), default=None)
    if best is None:
        return None, None
    if best.curve.known_epochs < len(best.curve.metrics):
        return "unknown", None
    return ("stopped", best.epoch) if best.status == STOPPED else ("kept", None)


def over_time(simulation: Simulation, margin: float) -> list[dict[str, Any]]:
    """Return the study's results at each of the `STEPS` of its simulated time."""
    found = []
    for step in STEPS:
        by = step * simulation.now
        regrets = [regret(simulation, arm, best_run(simulation, arm, by)) for arm in simulation.study.arms()]
        known = [value for value in regrets if value is not None]
        found.append(
            {
                "hours": by / 3600,
                "trials": sum(run.ended_at is not None and run.ended_at <= by for run in simulation.runs),
                "arms_with_a_result": len(known),
                "regret": fmean(known) if known else None,
                "largest_regret": max(known, default=None),
                "within_margin": sum(value <= margin for value in known),
            }
        )
    return found
