"""What the bridge to Ray Tune does with trials that Ray gives up."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.tuning import engine
from tune_qat.tuning.budget import Budget, Meter
from tune_qat.tuning.engine import Reports, StudySearcher
from tune_qat.tuning.losses import Loss
from tune_qat.tuning.plan import Plan
from tune_qat.tuning.schedule import WARM_UP


class Searcher:
    """Remembers which trials were lost."""

    stopped = False

    def __init__(self) -> None:
        self.plans: dict[str, Any] = {"t": None}
        self.gone: list[tuple[str, Loss]] = []

    def lost(self, trial_id: str, loss: Loss) -> None:
        self.gone.append((trial_id, loss))

    def room(self, slots: int) -> None:
        pass


def trial(status: str, error_file: Path | None = None) -> Any:
    return SimpleNamespace(trial_id="t", status=status, error_file=error_file, pickled_error_file=None)


def test_a_trial_that_ray_gives_up_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOOK_S", 0.0)
    searcher: Any = Searcher()
    Reports(searcher, lambda: 1).on_step_end(1, [trial("RUNNING"), trial("TERMINATED"), trial("ERROR")])
    assert searcher.gone == [("t", Loss(reason="Ray ended the trial without giving a reason."))]


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
    """As much of a queue as the warm-up looks at."""

    arms: dict[str, Any] = {}
    closed = False
    finished = False


def searcher_of(processes: int) -> tuple[StudySearcher, Any]:
    queue: Any = Queue()
    no_record: Any = None
    searcher = StudySearcher(queue, no_record, budget=Budget(), meter=Meter())
    searcher.warm_up(processes)
    return searcher, queue


def test_warm_ups_last_until_every_process_has_been_seen() -> None:
    searcher, queue = searcher_of(2)
    reports = Reports(searcher, lambda: 1)
    assert not searcher.warm()
    queue.arms = {"adam-w4a4": None}
    for process in (b"one", b"one"):
        reports.on_trial_start(1, [], in_process(process))
        assert not searcher.warm(), "one process, however many trials it has got"
    reports.on_trial_start(1, [], in_process(b"two"))
    assert searcher.warm()


@pytest.mark.parametrize("reason", ["closed", "finished"])
def test_warm_ups_never_hold_up_the_end(reason: str) -> None:
    searcher, queue = searcher_of(4)
    setattr(queue, reason, True)
    assert searcher.warm()


def test_warm_ups_follow_the_first_trial_and_are_one_fewer_than_processes() -> None:
    searcher, queue = searcher_of(3)
    searcher.plans["first"] = Plan.__new__(Plan)
    assert [searcher.suggest(name)["stage"] for name in ("second", "third")] == [WARM_UP, WARM_UP]
    queue.next, queue.finished = lambda: None, False
    assert searcher.suggest("fourth") is None


def test_one_trial_waits_at_most_so_that_a_sampler_is_asked_late() -> None:
    searcher, queue = searcher_of(1)
    queue.next = lambda: pytest.fail("asked while a trial was waiting for its process")
    searcher.plans["waiting"] = Plan.__new__(Plan)
    assert searcher.suggest("next") is None
