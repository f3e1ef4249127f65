"""Finalists in a simulated study: the real queue's choice, deaths of the driver, and which recorded curves they get."""

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from tests.simulate.small import small, write_record
from tests.simulate.test_recorded_curves import group, plan, rising, trial
from tests.simulate.test_resume import assert_whole, run_in_parts
from tune_qat.config.statuses import SEARCHED_STAGES
from tune_qat.simulate import summary
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.load import load
from tune_qat.simulate.loop import Run, Simulation, simulate
from tune_qat.simulate.rungs import whole_curves
from tune_qat.study import Study

FINALISTS = {"finalists": 3, "seeds": 2}
SEED = 33
"""With it the mean over seeds chooses another configuration than the best trial in one arm."""


def study() -> Study:
    return small(seed=SEED, selection=FINALISTS)


@pytest.fixture(scope="module")
def done() -> Simulation:
    return simulate(study(), ClosedForm.of(study()), workers=3)


def of_arm(simulation: Simulation, arm_id: str, *stages: str) -> list[Run]:
    return [run for run in simulation.runs if run.plan.arm_id == arm_id and run.plan.stage in stages]


def by_mean(simulation: Simulation, arm_id: str) -> str:
    """The arm's choice by a plain loop: the configuration of the best mean over its three runs."""
    searched = [run for run in of_arm(simulation, arm_id, *SEARCHED_STAGES) if run.status == "completed"]
    best = sorted(searched, key=lambda run: (run.curve.end, run.plan.trial_key))[-3:]
    means = {}
    for run in best:
        config_id = run.plan.config.config_id
        again = [one for one in of_arm(simulation, arm_id, "finalists") if one.plan.config.config_id == config_id]
        assert len(again) == 2
        means[config_id] = fmean((one.curve.end or 0.0) if one.status == "completed" else 0.0 for one in [run, *again])
    return max(means, key=lambda one: means[one])


def test_every_arm_trains_three_again_and_retrains_the_best_mean(done: Simulation) -> None:
    counts = Counter((run.plan.arm_id, run.plan.stage) for run in done.runs)
    changed = 0
    for arm in study().arms():
        assert {stage: counts[arm.arm_id, stage] for stage in study().planned(arm)} == study().planned(arm)
        chosen = {run.plan.config.config_id for run in of_arm(done, arm.arm_id, "retrain")}
        assert chosen == {by_mean(done, arm.arm_id)}
        lucky = max(
            (run for run in of_arm(done, arm.arm_id, *SEARCHED_STAGES) if run.status == "completed"),
            key=lambda run: run.curve.end or 0.0,
        )
        changed += chosen != {lucky.plan.config.config_id}
    assert changed, "the mean has chosen another one somewhere, or this test sees nothing"


def test_a_summary_knows_the_choice_at_every_time(done: Simulation) -> None:
    for arm in study().arms():
        found = summary.best_run(done, arm, done.now)
        assert found is not None and found.plan.stage in SEARCHED_STAGES
        assert found.plan.config.config_id == by_mean(done, arm.arm_id)
        begun = min((run.ended_at or 0.0) for run in of_arm(done, arm.arm_id, "finalists"))
        before = summary.best_run(done, arm, begun - 1e-6)
        assert before is not None and before.curve.end == max(
            run.curve.end or 0.0 for run in of_arm(done, arm.arm_id, *SEARCHED_STAGES) if run.status == "completed"
        )
    assert summary.cost(done)["planned"] == summary.cost(done)["trials"] == len(done.runs)


def test_rungs_are_judged_by_searched_trials_alone(done: Simulation) -> None:
    for whole in whole_curves(done):
        assert len(whole.objectives) <= 1 + 3 + 6


@pytest.mark.parametrize("deaths", [1, 4])
def test_a_study_that_dies_anywhere_ends_as_planned(deaths: int) -> None:
    for seed in range(3):
        last = run_in_parts(study(), seed=seed, deaths=deaths)[-1]
        assert last.queue.finished
        assert_whole(study(), last.memory)


def test_a_replay_finds_every_trial_again(tmp_path: Path) -> None:
    recorded = write_record(tmp_path, study())
    replayed = simulate(study(), load(tmp_path, study()).curves, workers=1)
    assert summary.sources(replayed) == {"recorded": 1.0, "extrapolated": 0.0}
    for arm in study().arms():
        assert by_mean(replayed, arm.arm_id) == by_mean(recorded, arm.arm_id)


def test_of_a_record_without_them_all_runs_of_a_finalist_are_the_searched_one(tmp_path: Path) -> None:
    plain = small(seed=SEED)
    write_record(tmp_path, plain)
    with_them = simulate(study(), load(tmp_path, study()).curves, workers=1)
    without = simulate(plain, load(tmp_path, plain).curves, workers=1)
    for arm in study().arms():
        ends = [summary.best_run(one, arm, one.now) for one in (with_them, without)]
        assert ends[0] is not None and ends[1] is not None
        assert ends[0].plan.trial_key == ends[1].plan.trial_key


def test_which_recorded_curve_a_finalist_gets() -> None:
    seeds = [trial(f"f{n}", 1e-3, rising(0.5 + n / 100), seed=5_000 + n, stage="finalists") for n in range(2)]
    retrained = trial("r", 1e-3, rising(0.3), seed=1, stage="retrain")
    other = trial("s", 1e-2, rising(0.2), seed=1, stage="retrain")
    recorded = group(trial("a", 1e-3, rising(0.9)), trial("b", 1e-2, rising(0.8)), *seeds, retrained, other)
    again = {recorded.curve(plan(1e-3, key=f"k{n}", stage="finalists")).end for n in range(30)}
    assert again == {0.5, 0.51}
    assert {recorded.curve(plan(1e-2, key=f"k{n}", stage="finalists")).end for n in range(30)} == {0.8}
    assert recorded.curve(plan(1e-3, stage="search")).end == 0.9
    assert [one.trial_key for one in recorded.whole] == ["a", "b"]
