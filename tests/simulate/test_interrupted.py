"""A simulated study whose driver dies after every single write: ASHA decides as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulate.small import small
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Run, Simulation
from tune_qat.simulate.memory_record import Memory
from tune_qat.study import Study
from tune_qat.tuning.asha import Decision
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.process_failures import ProcessFailure

Rungs = dict[tuple[str, int], Decision]


class DriverDies(Exception):
    """The driver is gone; what it and its workers have written stays."""


@dataclass
class Mortal(Memory):
    """Its driver dies after so many writes, of whatever kind."""

    left: int = 10**9

    def _written(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise DriverDies

    def started(self, plan: PlannedTrial) -> None:
        super().started(plan)
        self._written()

    def epoch(self, plan: PlannedTrial, report: dict[str, Any]) -> None:
        super().epoch(plan, report)
        self._written()

    def decided(self, decision: Decision) -> None:
        assert (decision.trial_key, decision.rung) not in self.decisions, "judged again"
        super().decided(decision)
        self._written()

    def ended(
        self, plan: PlannedTrial, report: Mapping[str, Any], status: str, stop_reason: str | None
    ) -> dict[str, Any]:
        row = super().ended(plan, report, status, stop_reason)
        self._written()
        return row


def study() -> Study:
    """One arm whose rungs, at epochs 1, 2, 4 and 8 of 9, stop about half of their trials."""
    return small(
        seed=3,
        space={"optimizers": ["sgd_clip"], "batch_size": {"low": 16, "high": 64}},
        quantization={"bits": [[4, 4]]},
        stages={"default": True, "random": 2, "search": 10, "retrain": 1},
    )


def run(memory: Mortal, *, workers: int = 1, dies_after: int = 10**9) -> bool:
    """Run the study until it ends or its driver dies after so many writes; return whether it has ended."""
    memory.left = dies_after
    try:
        one = Simulation(study(), ClosedForm.of(study()), workers, memory, ahead=workers > 1).run()
    except DriverDies:
        return False
    assert one.queue.finished
    return True


def in_parts(first: int, then: int, *, workers: int = 1) -> Mortal:
    """The record of a study that dies after `first` writes, and then after every `then` writes until it ends."""
    memory = Mortal(start_sha256=lambda number: "stand-in")
    lives = 1
    while not run(memory, workers=workers, dies_after=first if lives == 1 else then):
        lives += 1
        assert lives < 1_000
    return memory


@pytest.fixture(scope="module")
def whole() -> Mortal:
    memory = Mortal(start_sha256=lambda number: "stand-in")
    assert run(memory)
    stopped = sum(decision.stops for decision in memory.decisions.values())
    assert 2 < stopped < len(memory.decisions) / 2, "some are stopped, and most go on"
    return memory


def writes(memory: Memory) -> int:
    rows = 2 * len(memory.outcomes)
    return rows + len(memory.decisions) + sum(len(epochs) for epochs in memory.epochs.values())


@pytest.mark.slow
def test_a_death_after_any_write_changes_no_decision_and_no_result(whole: Mortal) -> None:
    for after in range(1, writes(whole) + 1):
        memory = in_parts(after, 10**9)
        assert memory.decisions == whole.decisions, after
        assert memory.outcomes == whole.outcomes, after
        assert memory.epochs == whole.epochs, after


@pytest.mark.parametrize("every", [2, 3, 7])
def test_however_often_it_dies(whole: Mortal, every: int) -> None:
    """A driver has to write two rows at least to get on: it says first that a trial goes on."""
    memory = in_parts(every, every)
    assert memory.decisions == whole.decisions
    assert memory.outcomes == whole.outcomes


def assert_decided(memory: Memory) -> None:
    """Every search trial has a decision at each rung that it passed; one that it was stopped at is its last."""
    for key, plan in memory.plans.items():
        passed = [row["epoch"] for row in memory.epochs[key] if row["status"] == "running"]
        rungs = [rung for rung in study().rungs if rung in passed] if plan.stage == "search" else []
        actions = [memory.decisions[key, rung].action for rung in rungs]
        stopped = memory.outcomes[key]["status"] == "stopped"
        assert actions == ["continue"] * (len(rungs) - stopped) + ["stop"] * stopped
    for rung in study().rungs:
        places = [decision.n_in_rung for decision in memory.decisions.values() if decision.rung == rung]
        assert len(set(places)) == len(places), "each was judged against one more"


@pytest.mark.parametrize(("workers", "every"), [(2, 7), (3, 31), (4, 16)])
def test_with_several_trials_at_once_none_passes_a_rung_without_a_decision(workers: int, every: int) -> None:
    for first in range(1, every + 1, 3):
        assert_decided(in_parts(first, every, workers=workers))


class LosesProcesses(Simulation):
    """Each of its trials loses its process once, after it has recorded an epoch and before that is reported."""

    losing: int
    """The epoch."""
    lost: set[str]
    """Keys of the trials."""

    def _told(self, run: Run, report: dict[str, Any]) -> None:
        if run.epoch == self.losing and run.plan.stage == "search" and run.plan.trial_key not in self.lost:
            self.lost.add(run.plan.trial_key)
            self.searcher.lost(run.trial.trial_id, ProcessFailure(reason="killed"))
            run.status, run.ended_at = self.memory.outcomes[run.plan.trial_key]["status"], self.now
            self._free += 1
            return
        super()._told(run, report)


@pytest.mark.parametrize("epoch", [1, 4, 5])
def test_a_process_that_is_lost_before_its_report_changes_no_decision(whole: Mortal, epoch: int) -> None:
    memory = Mortal(start_sha256=lambda number: "stand-in")
    one = LosesProcesses(study(), ClosedForm.of(study()), 1, memory, ahead=False)
    one.losing, one.lost = epoch, set()
    one.run()
    assert one.queue.finished and len(one.lost) > 1
    assert memory.decisions == whole.decisions
    assert memory.outcomes == whole.outcomes
