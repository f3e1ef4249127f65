"""A record that refuses what the bridge to Ray Tune asks of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.tuning.test_searcher import AnyPlan, Queue, Record
from tune_qat.config import StorageRefused
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.process_failures import ProcessFailure
from tune_qat.tuning.searcher import StudySearcher


@pytest.mark.parametrize("refused", ["started", "decided", "epochs_of", "ended", "weights_hash"])
def test_a_record_that_refuses_anything_ends_the_study_and_no_trial(refused: str) -> None:
    """Ray would take the error for the trial's, and the study would wait for that trial for ever."""

    def refuse(*given: Any) -> None:
        raise StorageRefused("storage is gone")

    record: Any = Record()
    record.weights_hash = record.epochs_of = lambda *given: "known"
    setattr(record, refused, refuse)
    queue: Any = Queue()
    ended, queue.cut = list[bool](), lambda plan: None
    searcher = StudySearcher(queue, record, budget=Budget(), meter=Meter())
    searcher.on_loss = lambda plan: record.epochs_of(plan)
    searcher.on_give_up = lambda: ended.append(True)
    plans: dict[str, Any] = {"lost": AnyPlan("lost"), "start": AnyPlan("start")}
    plans["start"].stage, plans["start"].config = "pretrain", SimpleNamespace(epochs=1)
    for name, plan in plans.items():
        searcher.plans[name] = plan
        searcher.started(name, name)
    decision: Any = SimpleNamespace(trial_key="start", stops=False)
    searcher.decided(decision)
    searcher.lost("lost", ProcessFailure(reason="killed"))
    searcher.on_trial_complete("start", {"status": "completed"})
    assert str(searcher.refused) == "storage is gone" and queue.closed and ended
    assert not searcher.plans, "no trial is waited for"
