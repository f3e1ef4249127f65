"""What the bridge to Ray Tune does with trials that Ray gives up."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tune_qat.config.statuses import KEPT_STAGES
from tune_qat.tuning import reports
from tune_qat.tuning.asha import Decision
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.plan import WARM_UP, PlannedTrial
from tune_qat.tuning.process_failures import ProcessFailure, is_out_of_memory
from tune_qat.tuning.reports import Reports
from tune_qat.tuning.searcher import StudySearcher


class Searcher:
    """Remembers which trials were lost."""

    stopped = False

    def __init__(self) -> None:
        self.plans: dict[str, Any] = {"t": None}
        self.gone: list[tuple[str, ProcessFailure]] = []

    def lost(self, trial_id: str, loss: ProcessFailure) -> None:
        self.gone.append((trial_id, loss))

    def room(self, slots: int) -> None:
        pass


def trial(status: str, error_file: Path | None = None) -> Any:
    return SimpleNamespace(trial_id="t", status=status, error_file=error_file, pickled_error_file=None)


def test_a_trial_that_ray_gives_up_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LOOK_S", 0.0)
    searcher: Any = Searcher()
    Reports(searcher, lambda: 1).on_step_end(1, [trial("RUNNING"), trial("TERMINATED"), trial("ERROR")])
    assert searcher.gone == [("t", ProcessFailure(reason="Ray ended the trial without giving a reason."))]


def test_the_reason_that_ray_gives_is_kept(tmp_path: Path) -> None:
    searcher: Any = Searcher()
    (tmp_path / "error.txt").write_text("x" * 5_000 + "segmentation fault")
    Reports(searcher, lambda: 1).on_trial_error(1, [], trial("ERROR", tmp_path / "error.txt"))
    reason = searcher.gone[0][1].reason
    assert reason.endswith("segmentation fault") and len(reason) == 4_000


def in_process(name: bytes) -> Any:
    """A trial that has got a process of this name."""
    actor = SimpleNamespace(_actor_id=name)
    return SimpleNamespace(trial_id="none of ours", temporary_state=SimpleNamespace(ray_actor=actor))


class Queue:
    """As much of a queue as the searcher looks at."""

    arms: dict[str, Any] = {}
    closed = False
    finished = False
    study = SimpleNamespace(kept_stages=KEPT_STAGES)

    def __init__(self) -> None:
        self.again: list[Any] = []
        self.rows: list[Any] = []

    def next(self) -> Any:
        return self.again.pop(0) if self.again else None

    def ended(self, plan: Any, row: Any) -> None:
        self.rows.append(row)


class Record:
    """Remembers what was written."""

    def started(self, plan: Any) -> None:
        pass

    def decided(self, decision: Decision) -> None:
        pass

    def ended(self, plan: Any, report: Any, status: str, reason: Any) -> Any:
        return {"status": status, "error_type": report.get("error_type"), "reason": reason}


def searcher_of(processes: int) -> tuple[StudySearcher, Any]:
    queue: Any = Queue()
    record: Any = Record()
    searcher = StudySearcher(queue, record, budget=Budget(), meter=Meter())
    searcher.warm_ups.begin(processes)
    return searcher, queue


def test_warm_ups_last_until_every_process_has_been_seen() -> None:
    searcher, queue = searcher_of(2)
    told = Reports(searcher, lambda: 1)
    assert not searcher.warm_ups.over()
    queue.arms = {"adam-w4a4": None}
    for process in (b"one", b"one"):
        told.on_trial_start(1, [], in_process(process))
        assert not searcher.warm_ups.over(), "one process, however many trials it has got"
    told.on_trial_start(1, [], in_process(b"two"))
    assert searcher.warm_ups.over()


@pytest.mark.parametrize("reason", ["closed", "finished"])
def test_warm_ups_never_hold_up_the_end(reason: str) -> None:
    searcher, queue = searcher_of(4)
    setattr(queue, reason, True)
    assert searcher.warm_ups.over()


def test_warm_ups_follow_the_first_trial_and_are_one_fewer_than_processes() -> None:
    searcher, queue = searcher_of(3)
    searcher.plans["first"] = PlannedTrial.__new__(PlannedTrial)
    assert [searcher.suggest(name)["stage"] for name in ("second", "third")] == [WARM_UP, WARM_UP]
    queue.next, queue.finished = lambda: None, False
    assert searcher.suggest("fourth") is None


def test_one_trial_waits_at_most_so_that_a_sampler_is_asked_late() -> None:
    searcher, queue = searcher_of(1)
    queue.next = lambda: pytest.fail("asked while a trial was waiting for its process")
    searcher.plans["waiting"] = PlannedTrial.__new__(PlannedTrial)
    assert searcher.suggest("next") is None


class AnyPlan:
    """A plan that is only handed on."""

    arm_id = "adam-w4a4"
    stage = "default"

    def __init__(self, trial_key: str) -> None:
        self.trial_key = trial_key

    def to_json(self) -> str:
        return "{}"


def running(*names: str) -> tuple[StudySearcher, Any]:
    """A searcher whose trials of these names run in a process each, of the same name in hexadecimal digits."""
    searcher, queue = searcher_of(len(names))
    searcher.warm_ups._left = 0
    for name in names:
        queue.again.append(AnyPlan(name))
        assert searcher.suggest(name)
        searcher.started(name, name.encode().hex())
    return searcher, queue


def test_a_lost_trial_goes_on_three_times_first_of_all_and_then_is_an_error() -> None:
    searcher, queue = running("t")
    for number in range(3):
        searcher.lost("t" if number == 0 else f"again{number}", ProcessFailure(reason="killed"))
        assert searcher.suggest(f"again{number + 1}")["trial_key"] == "t"
        searcher.started(f"again{number + 1}", "00")
    # Drained nodes do not count.
    searcher.lost("again3", ProcessFailure(reason="drained", excused=True))
    assert searcher.suggest("again4")["trial_key"] == "t"
    searcher.lost("again4", ProcessFailure(reason="killed"))
    assert queue.rows == [{"status": "error", "error_type": "WorkerDied", "reason": None}]
    searcher.lost("again4", ProcessFailure(reason="told twice"))
    assert len(queue.rows) == 1 and not queue.again


def test_a_trial_that_took_the_memory_is_not_tried_again() -> None:
    searcher, queue = running("t")
    searcher.lost("t", ProcessFailure(reason="low", out_of_memory=True))
    assert queue.rows[0]["status"] == "oom" and not queue.again


KILLED = """2 worker(s) were killed due to the node running low on memory.
Selected to kill: (Actor({small}): job ID=01, task name=T.__init__, pid=1, actual memory used=0.11GB, worker ID=8b)
Selected to kill: (Actor({large}): job ID=01, task name=T.__init__, pid=2, actual memory used=2.50GB, worker ID=7b)
"""


def test_of_several_that_rays_monitor_kills_the_largest_is_blamed_and_the_rest_go_on() -> None:
    searcher, queue = running("small", "large", "elsewhere")
    searcher.all_lost(KILLED.format(small=b"small".hex(), large=b"large".hex()))
    assert [row["status"] for row in queue.rows] == ["oom"]
    assert sorted(plan.trial_key for plan in queue.again) == ["elsewhere", "small"]
    assert not searcher._losses["small"] and not searcher.plans


def test_where_nobody_can_be_blamed_all_go_on_and_it_counts() -> None:
    searcher, queue = running("a", "b")
    searcher.all_lost("something else")
    assert not queue.rows and [plan.trial_key for plan in queue.again] == ["a", "b"]
    assert searcher._losses == {"a": 1, "b": 1}


def decision(action: Any) -> Decision:
    return Decision(
        trial_key="t", arm_id="adam-w4a4", rung=1, epoch=1, value=0.5, cutoff=0.6, n_in_rung=3, action=action
    )


def test_a_trial_is_stopped_by_the_decision_and_not_by_what_it_reports() -> None:
    for action, status, expected in (
        ("stop", "running", ("stopped", "asha")),
        ("continue", "completed", ("completed", None)),
    ):
        searcher, queue = running("t")
        searcher.decided(decision(action))
        searcher.on_trial_complete("t", {"status": status})
        assert [(row["status"], row["reason"]) for row in queue.rows] == [expected]


@pytest.mark.parametrize("failure", [ProcessFailure(reason="killed"), ProcessFailure(reason="", out_of_memory=True)])
def test_a_trial_that_asha_has_stopped_is_not_gone_on_with_when_its_process_is_lost(failure: ProcessFailure) -> None:
    searcher, queue = running("t")
    searcher.decided(decision("stop"))
    searcher.lost("t", failure)
    assert [(row["status"], row["reason"]) for row in queue.rows] == [("stopped", "asha")] and not queue.again


def test_what_a_lost_process_had_recorded_may_end_its_trial() -> None:
    searcher, queue = running("t", "other")
    searcher.on_loss = lambda plan: searcher.decided(decision("stop")) if plan.trial_key == "t" else None
    for name in ("t", "other"):
        searcher.lost(name, ProcessFailure(reason="killed"))
    assert [(row["status"], row["reason"]) for row in queue.rows] == [("stopped", "asha")]
    assert [plan.trial_key for plan in queue.again] == ["other"]


def test_everyone_who_listens_is_told_in_turn() -> None:
    searcher, _ = running("t")
    heard: list[tuple[str, str, str]] = []
    for name in ("first", "second"):
        searcher.listen(lambda event, plan, values, name=name: heard.append((name, event, plan.trial_key)))  # type: ignore[misc]
    searcher.on_trial_complete("t", {"status": "completed"})
    assert heard == [("first", "ended", "t"), ("second", "ended", "t")]


def test_a_run_that_the_user_stops_takes_no_more_trials_and_says_so_of_those_that_run() -> None:
    searcher, queue = running("t")
    written: list[tuple[str, str | None]] = []
    searcher._record.ended = lambda plan, report, status, reason: written.append((status, reason))  # type: ignore
    searcher.stop()
    searcher.interrupt()
    assert queue.closed and searcher.stopped and written == [("interrupted", "user")]


def test_a_limit_that_was_asked_for_is_how_many_wait() -> None:
    searcher, queue = searcher_of(1)
    searcher.warm_ups.begin(0, limit=3)
    queue.again = [AnyPlan(str(number)) for number in range(5)]
    assert [searcher.suggest(str(number)) is not None for number in range(5)] == [True] * 3 + [False] * 2


def test_nodes_that_join_are_warmed_up_and_filled() -> None:
    searcher, queue = running("a", "b")
    assert searcher.suggest("c") is None
    searcher.room(4)
    assert [searcher.suggest(name)["stage"] for name in ("c", "d")] == [WARM_UP, WARM_UP]
    assert not searcher.warm_ups.over()
    queue.arms = {"adam-w4a4": None}
    for name in ("c", "d"):
        searcher.started(name, name)
    assert searcher.warm_ups.over()
    for name in ("c", "d"):
        searcher.on_trial_complete(name, {})
    queue.again = [AnyPlan(str(number)) for number in range(5)]
    # Two processes are free, and both get a trial at once.
    assert [searcher.suggest(str(number)) is not None for number in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("DefaultCPUAllocator: can't allocate memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors_also_where_it_is_the_cause(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
    outer = TypeError("inside a library")
    outer.__cause__ = error
    assert is_out_of_memory(outer) == expected
