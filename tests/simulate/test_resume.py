"""A simulated study that dies at random moments, goes on from what it had recorded, and dies again."""

import random
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from tests.simulate.small import small
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Run, Simulation, simulate
from tune_qat.simulate.memory_record import Memory
from tune_qat.study import Study
from tune_qat.tuning import resume
from tune_qat.tuning.plan import PlannedTrial

FINAL = {"completed", "stopped", "diverged"}


def dies_after(epochs: int) -> Any:
    """A driver that dies once the workers have recorded so many epochs, the last of them not told."""
    left = [epochs]

    def cut(run: Run) -> bool:
        left[0] -= 1
        return left[0] <= 0

    return cut


@cache
def epochs_of(mode: str) -> int:
    """Epochs of the whole study."""
    study = small(mode=mode)
    return sum(run.epoch for run in simulate(study, ClosedForm.of(study), workers=2).runs)


def run_in_parts(study: Study, *, seed: int, deaths: int) -> list[Simulation]:
    """Every run of the study, from its first to the one that ends it."""
    generator = random.Random(seed)
    curves, memory = ClosedForm.of(study), Memory(start_sha256=lambda number: "stand-in")
    parts = []
    for part in range(deaths + 1):
        dies = part < deaths
        cut = dies_after(generator.randint(1, 2 * epochs_of(study.mode) // (deaths + 1))) if dies else lambda run: False
        one = Simulation(study=study, curves=curves, workers=generator.randint(1, 4), memory=memory, cut=cut)
        finished = {key for key, row in memory.outcomes.items() if row["status"] in FINAL}
        parts.append(one.run())
        assert not finished & {run.plan.trial_key for run in one.runs}, "what has ended is not run again"
    return parts


def assert_whole(study: Study, memory: Memory) -> None:
    """Exactly the planned trials, each with its epochs 1 to n once and as many as its row says."""
    per_arm = Counter((plan.arm_id, plan.stage) for plan in memory.plans.values())
    planned = {(arm.arm_id, stage): n for arm in study.arms() for stage, n in study.planned(arm).items() if n}
    assert per_arm == {("pretrain", "pretrain"): 1, **planned}
    for key, row in memory.outcomes.items():
        assert row["status"] in FINAL
        assert [one["epoch"] for one in memory.epochs[key]] == list(range(1, row["epochs_run"] + 1))


def assert_rungs(study: Study, last: Simulation) -> None:
    """ASHA holds the value of every search trial at every rung it has reached, each once."""
    memory = last.memory
    for arm in study.arms():
        searched = [key for key, plan in memory.plans.items() if (plan.arm_id, plan.stage) == (arm.arm_id, "search")]
        rungs = last.scheduler.asha[arm.arm_id].rungs
        for rung in study.rungs:
            reached = [memory.epochs[key][rung - 1] for key in searched if len(memory.epochs[key]) >= rung]
            expected = sorted(last.queue.objective.of(row["val_metric"]) for row in reached)
            assert rungs[rung].values == expected


def assert_samplers(last: Simulation) -> int:
    """A sampler knows every trial of its arm that has ended, once; returns how many there are to look at."""
    samplers = [state for state in last.queue.arms.values() if state.sampler is not None]
    for state in samplers:
        assert state.sampler is not None
        told = state.sampler._study.get_trials()
        # FAIL: a proposal of what was running or cut off, which was not taken.
        assert sum(trial.state.name == "RUNNING" for trial in told) == len(state.proposals)
        assert not (last.queue.finished and state.proposals)
        known = [
            last.queue.objective.of_row(row)
            for plan, row in state.done.values()
            if plan.stage != "retrain" and last.queue.planner.in_range(plan)
        ]
        assert sorted(trial.value for trial in told if trial.value is not None) == sorted(known)
    return len(samplers)


def assert_best(study: Study, last: Simulation) -> None:
    """What was trained again is what the record calls best."""
    memory = last.memory
    for arm in study.arms():
        mine = [plan for plan in memory.plans.values() if plan.arm_id == arm.arm_id]
        tried = [plan for plan in mine if memory.outcomes[plan.trial_key]["status"] == "completed"]
        best = max(
            (plan for plan in tried if plan.stage != "retrain"),
            key=lambda plan: (memory.outcomes[plan.trial_key]["val_metric"], plan.trial_key),
        )
        assert {plan.config.config_id for plan in mine if plan.stage == "retrain"} == {best.config.config_id}


@pytest.mark.parametrize("mode", ["comparison", "joint"])
@pytest.mark.parametrize("deaths", [1, 3, 8])
def test_a_study_that_dies_anywhere_ends_as_planned(mode: str, deaths: int) -> None:
    study = small(mode=mode)
    looked_at = gone_on = 0
    for seed in range(6):
        parts = run_in_parts(study, seed=100 * deaths + seed, deaths=deaths)
        last = parts[-1]
        assert last.queue.finished
        assert_whole(study, last.memory)
        assert_rungs(study, last)
        assert_best(study, last)
        looked_at += sum(assert_samplers(part) for part in parts[1:])
        gone_on += sum(run.first > 0 for part in parts for run in part.runs)
    assert looked_at > 5 and gone_on > 5, "there were samplers that had died, and trials that were cut off"


def test_a_trial_whose_last_epoch_was_not_told_is_ended_from_its_record() -> None:
    study = small()
    memory = Memory(start_sha256=lambda number: "stand-in")

    def last_epoch_of_a_default(run: Run) -> bool:
        return run.plan.stage == "default" and run.epoch == len(run.curve.metrics)

    curves = ClosedForm.of(study)
    died = Simulation(study=study, curves=curves, workers=2, memory=memory, cut=last_epoch_of_a_default).run()
    of_epochs = {key: epochs[-1]["status"] for key, epochs in memory.epochs.items()}
    key = next(key for key, status in of_epochs.items() if status not in ("running", memory.outcomes[key]["status"]))
    assert memory.outcomes[key]["status"] == "running" and died.now > 0
    again = Simulation(study=study, curves=curves, workers=2, memory=memory)
    assert memory.outcomes[key]["status"] == of_epochs[key], "before anything runs"
    assert key not in {run.plan.trial_key for run in again.run().runs}


class DiesAtAStop(Memory):
    """Its driver is lost between ASHA's recorded decision and the trial's row."""

    def ended(
        self, plan: PlannedTrial, report: Mapping[str, Any], status: str, stop_reason: str | None
    ) -> dict[str, Any]:
        if status == "stopped":
            raise InterruptedError(plan.trial_key)
        return super().ended(plan, report, status, stop_reason)


def test_a_trial_that_asha_had_stopped_is_ended_and_not_gone_on_with() -> None:
    study, memory = small(), DiesAtAStop(start_sha256=lambda number: "stand-in")
    curves = ClosedForm.of(study)
    with pytest.raises(InterruptedError) as died:
        Simulation(study=study, curves=curves, workers=2, memory=memory).run()
    key = str(died.value)
    assert memory.outcomes[key]["status"] == "running"
    kept = Memory(memory.start_sha256, memory.plans, memory.outcomes, memory.epochs, memory.decisions)
    again = Simulation(study=study, curves=curves, workers=2, memory=kept)
    assert (kept.outcomes[key]["status"], kept.outcomes[key]["stop_reason"]) == ("stopped", "asha")
    epochs = list(kept.epochs[key])
    assert key not in {run.plan.trial_key for run in again.run().runs}
    assert kept.epochs[key] == epochs
    assert_whole(study, kept)
    assert_rungs(study, again)


def cut_off(study: Study, *, epochs: int = 60) -> Memory:
    """A record of trials that ran side by side until their driver died, several of them in the search."""
    memory = Memory(start_sha256=lambda number: "stand-in")
    Simulation(study=study, curves=ClosedForm.of(study), workers=4, memory=memory, cut=dies_after(epochs)).run()
    return memory


ONE_ARM: dict[str, Any] = {
    "seed": 5,  # with which several trials of the search run when the driver dies
    "space": {"optimizers": ["sgd_clip"], "batch_size": {"low": 16, "high": 64}},
    "quantization": {"bits": [[4, 4]]},
}


def test_of_several_trials_that_were_cut_off_the_older_is_judged_first_however_they_are_recorded() -> None:
    study = small(**ONE_ARM)
    found = []
    for backwards in (False, True):
        memory = cut_off(study)
        running = [key for key, row in memory.outcomes.items() if row["status"] == "running"]
        assert len(running) > 2 and {memory.plans[key].stage for key in running} == {"search"}
        # Reports of all of them were lost at their first rung.
        memory.decisions = {place: one for place, one in memory.decisions.items() if place[0] not in running}
        for key in running:
            memory.epochs[key] = memory.epochs.get(key, [])[:1]
        if backwards:
            memory.plans = dict(reversed(memory.plans.items()))
            memory.epochs = dict(reversed(memory.epochs.items()))
        before = len(memory.decisions)
        Simulation(study=study, curves=ClosedForm.of(study), workers=1, memory=memory)
        found.append([one for one in memory.decisions.values()][before:])
    assert found[0] == found[1] and len(found[0]) > 2
    numbers = [memory.plans[one.trial_key].number for one in found[0]]
    assert numbers == sorted(numbers)
    places = [one.n_in_rung for one in found[0]]
    assert places == list(range(places[0], places[0] + len(places)))


def test_what_an_earlier_decision_let_go_on_counts_before_what_was_not_judged() -> None:
    study = small(**ONE_ARM)
    memory = cut_off(study)
    judged = [plan for key, plan in memory.plans.items() if (key, 1) in memory.decisions]
    running = [plan for plan in judged if memory.outcomes[plan.trial_key]["status"] == "running"]
    running.sort(key=lambda plan: plan.number)
    assert len(running) > 1
    older, younger = running[0].trial_key, running[-1].trial_key
    kept = memory.decisions[younger, 1]
    memory.decisions = {place: one for place, one in memory.decisions.items() if place[0] != older}
    Simulation(study=study, curves=ClosedForm.of(study), workers=1, memory=memory)
    assert memory.decisions[younger, 1] == kept, "never judged again"
    in_rung = [key for key, epochs in memory.epochs.items() if epochs and memory.plans[key].stage == "search"]
    assert memory.decisions[older, 1].n_in_rung == len(in_rung) - 1


def test_a_trial_that_ran_on_past_a_rung_without_a_decision_is_judged_there_first() -> None:
    """As versions before left them: the epochs of a trial that was cut off went into the rungs unjudged."""
    study = small(**ONE_ARM)
    memory = cut_off(study)
    worst = next(
        key for key, row in memory.outcomes.items() if row["status"] == "running" and (key, 1) in memory.decisions
    )
    template = memory.epochs[worst][0]
    memory.epochs[worst] = [{**template, "epoch": epoch, "val_metric": 0.01} for epoch in (1, 2, 3)]
    memory.decisions = {place: one for place, one in memory.decisions.items() if place[0] != worst}
    again = Simulation(study=study, curves=ClosedForm.of(study), workers=1, memory=memory)
    decided = [one for place, one in memory.decisions.items() if place[0] == worst]
    assert [(one.rung, one.action) for one in decided] == [(1, "stop")]
    row = memory.outcomes[worst]
    assert (row["status"], row["stop_reason"], row["epochs_run"]) == ("stopped", "asha", 3), "before anything runs"
    assert worst not in {run.plan.trial_key for run in again.run().runs}


def test_an_epoch_that_a_failed_trial_did_not_report_is_in_no_rung() -> None:
    study = small(**ONE_ARM)
    memory = cut_off(study)
    failed = next(
        key for key, row in memory.outcomes.items() if row["status"] == "running" and (key, 1) in memory.decisions
    )
    memory.outcomes[failed]["status"] = "error"
    memory.decisions = {place: one for place, one in memory.decisions.items() if place[0] != failed}
    again = Simulation(study=study, curves=ClosedForm.of(study), workers=1, memory=memory)
    (asha,) = again.scheduler.asha.values()
    assert failed not in asha.rungs[1].trials and (failed, 1) not in memory.decisions


@pytest.mark.parametrize("lost", ["refill", "_objectives"])
def test_these_checks_see_what_a_resume_forgets(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, lost, lambda *args: {})
    study = small()

    def ends_well(seed: int) -> bool:
        try:
            last = run_in_parts(study, seed=seed, deaths=3)[-1]
            assert_whole(study, last.memory)
            assert_rungs(study, last)
        except AssertionError:
            return False
        return True

    assert not all(ends_well(seed) for seed in range(12))
