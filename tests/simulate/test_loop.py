"""The event loop: time, workers and what the study's own parts decide, with curves of the formula."""

import heapq
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import ray

from tests.simulate.small import small
from tests.tuning.test_scheduler import plain_asha
from tune_qat.simulate import formula as closed_form
from tune_qat.simulate.curves import Curve
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Simulation, simulate
from tune_qat.study import Study
from tune_qat.tuning.budget import TIME
from tune_qat.tuning.plan import PlannedTrial


def simulated(study: Study, *, workers: int = 3, **options: Any) -> Simulation:
    return simulate(study, ClosedForm.of(study), workers=workers, **options)


def events(done: Simulation) -> list[tuple[Any, ...]]:
    return [(run.plan.trial_key, run.status, run.epoch, run.ended_at) for run in done.runs]


def test_every_stage_has_its_planned_trials_each_once() -> None:
    study = small()
    done = simulated(study)
    per_arm = Counter((run.plan.arm_id, run.plan.stage) for run in done.runs)
    planned = {(arm.arm_id, stage): n for arm in study.arms() for stage, n in study.planned(arm).items() if n}
    assert per_arm == {("pretrain", "pretrain"): 1, **planned}
    assert len({run.plan.trial_key for run in done.runs}) == len(done.runs)
    assert done.queue.finished and not ray.is_initialized()


def test_outcomes_of_every_kind_come_about() -> None:
    outcomes = Counter((run.plan.stage == "search", run.status) for run in simulated(small()).runs)
    assert set(outcomes) >= {(True, "completed"), (True, "stopped"), (False, "completed"), (False, "diverged")}
    assert not outcomes[False, "stopped"], "ASHA stops trials of the search alone"


def test_a_seed_decides_everything_and_another_one_something_else() -> None:
    first, again = simulated(small()), simulated(small())
    assert events(first) == events(again)
    assert first.memory.decisions == again.memory.decisions and first.memory.decisions
    assert events(simulated(small(seed=1))) != events(first)


def list_schedule(durations: list[float], workers: int) -> list[float]:
    """When each of a list of jobs ends: each goes to the worker that is free first, in order."""
    free = [0.0] * workers
    ends = []
    for duration in durations:
        ends.append(heapq.heappop(free) + duration)
        heapq.heappush(free, ends[-1])
    return ends


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_trials_end_when_a_list_schedule_says(workers: int) -> None:
    study = small(
        stages={"default": True, "random": 12, "search": 0, "retrain": 0}, training={"epochs": 9, "init": "scratch"}
    )
    done = simulated(study, workers=workers)
    durations = [sum(run.curve.seconds) for run in done.runs]
    assert len(set(durations)) > 3, "batch sizes differ in time"
    # Sums of epochs, added one by one there and at once here.
    assert [run.ended_at for run in done.runs] == pytest.approx(list_schedule(durations, workers), rel=1e-12)


def test_one_worker_spends_its_whole_time_on_what_was_run() -> None:
    done = simulated(small(), workers=1)
    # Sums of 400 numbers in another order.
    assert done.now == pytest.approx(sum(sum(run.curve.seconds[: run.epoch]) for run in done.runs), rel=1e-12)


def test_asha_decides_as_a_plain_one_does_trial_after_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "EDGE", math.inf)  # the twin knows no divergence
    study = small(seed=3, quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 30, "retrain": 0})
    done = simulated(study, workers=1, ahead=False)
    for arm in study.arms():
        mine = [run for run in done.runs if run.plan.arm_id == arm.arm_id and run.plan.stage == "search"]
        curves: dict[str, Any] = {run.plan.trial_key: run.curve.metrics for run in mine}
        assert {run.plan.trial_key: run.epoch for run in mine} == plain_asha(curves, study.rungs, 2)
        assert len({run.epoch for run in mine}) > 3


def test_a_trial_waits_for_the_next_free_worker_unless_there_is_a_limit() -> None:
    """As in Ray Tune: the proposal ahead knows less, so that samplers propose something else."""
    one = {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}
    study = small(quantization={"bits": [[4, 4]]}, space=one, stages={"default": True, "search": 20, "retrain": 0})
    ahead, limited = simulated(study, workers=1), simulated(study, workers=1, ahead=False)
    assert len(ahead.runs) == len(limited.runs) and events(ahead) != events(limited)


def test_no_trial_starts_that_would_end_after_the_budget() -> None:
    study = small()
    whole = simulated(study)
    budget = whole.now / 2
    cut = simulated(study, time_budget=budget)
    assert cut.searcher.reached == TIME and not cut.queue.left() == 0
    assert 0 < len(cut.runs) < len(whole.runs)
    assert events(cut)[: len(cut.runs) // 2] == events(whole)[: len(cut.runs) // 2], "until then it is the same study"
    longest = max(sum(run.curve.seconds) for run in whole.runs)
    assert cut.now <= budget + longest, "what runs may end"
    assert all(run.ended_at is not None for run in cut.runs)


def test_a_budget_below_any_trial_still_ends() -> None:
    assert [run.plan.stage for run in simulated(small(), time_budget=1e-9).runs] == ["pretrain"]


def test_samplers_are_told_of_every_trial_that_they_proposed() -> None:
    done = simulated(small())
    for state in done.queue.arms.values():
        assert state.sampler is not None and not state.proposals
        told = state.sampler._study.get_trials()
        assert {trial.state.name for trial in told} == {"COMPLETE"}
        ran = [plan for plan, _ in state.done.values() if plan.stage != "retrain" and in_range(done, plan)]
        assert len(told) == len(ran)


class EndsInANumber(ClosedForm):
    """A diverged trial's last epoch may have a metric, where its loss has exploded."""

    def curve(self, plan: PlannedTrial) -> Curve:
        curve = super().curve(plan)
        return replace(curve, metrics=(*curve.metrics[:-1], 0.7)) if curve.status == "diverged" else curve


def test_a_diverged_trial_has_no_metric_and_is_told_as_the_worst() -> None:
    study = small()
    done = simulate(study, EndsInANumber.of(study), workers=2)
    diverged = [run.plan for run in done.runs if run.status == "diverged"]
    assert diverged and all(done.memory.outcomes[plan.trial_key]["val_metric"] is None for plan in diverged)
    assert all(done.queue.objective.of_row(done.memory.outcomes[plan.trial_key]) == 0.0 for plan in diverged)


def in_range(done: Simulation, plan: PlannedTrial) -> bool:
    ranges = done.study.dimensions(plan.config.optimizer)
    return all(bounds.low <= plan.values[name] <= bounds.high for name, bounds in ranges.items())
