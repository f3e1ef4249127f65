"""How many warm-ups and waiting trials there are, and when warm-ups are over."""

from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.tuning.warm_up import WARM_UP_S, WarmUps


def warm_ups(**queue: Any) -> tuple[WarmUps, Any, list[float]]:
    """With the queue that they look at, and their clock."""
    seen_by, now = SimpleNamespace(**{"arms": {"adam": None}, "closed": False, "finished": False, **queue}), [0.0]
    return WarmUps(seen_by, clock=lambda: now[0]), seen_by, now  # type: ignore[arg-type]


def test_a_cluster_with_less_room_than_it_said_is_not_waited_for_without_end() -> None:
    ups, _, now = warm_ups()
    ups.begin(3)
    ups.seen["one"] = "t"
    now[0] = WARM_UP_S
    assert not ups.over()
    now[0] += 1
    assert ups.over()


def test_a_second_tune_run_waits_for_processes_of_its_own() -> None:
    ups, _, _ = warm_ups()
    ups.begin(2)
    assert ups.take("warm") and not ups.take("another")
    ups.seen.update(one="first", two="warm")
    assert ups.over()
    ups.begin(2)
    assert not ups.over() and not ups.seen
    assert ups.take("warm") and not ups.take("another")


@pytest.mark.parametrize(("slots", "waiting", "more"), [(4, 0, 2), (4, 1, 1), (4, 3, 0), (1, 0, 0)])
def test_nodes_that_come_are_warmed_up_but_for_trials_that_wait(slots: int, waiting: int, more: int) -> None:
    ups, _, _ = warm_ups()
    ups.begin(2)
    assert ups.take("first")
    ups.seen.update(one="t", two="first")
    ups.end("first")
    ups.room(slots, waiting, running=2)
    assert [ups.take(str(number)) for number in range(3)] == [number < more for number in range(3)]
    assert ups.over() == (more == 0)


def test_a_node_whose_process_a_trial_has_started_before_it_was_noticed_is_not_warmed_up() -> None:
    """The warm-up would get the place of a trial, and wait there for a process that never starts."""
    ups, _, _ = warm_ups()
    ups.begin(1)
    ups.seen.update(one="t", two="u")
    ups.room(2, waiting=0, running=2)
    assert not ups.take("warm") and ups.over()


def test_no_process_of_a_node_that_is_gone_is_waited_for() -> None:
    ups, _, _ = warm_ups()
    ups.begin(1)
    ups.seen["one"] = "t"
    ups.room(3, waiting=0, running=1)
    assert ups.take("warm") and not ups.over()
    ups.room(1, waiting=0, running=1)
    assert not ups.take("another") and ups.over()


def test_nothing_is_warmed_up_for_a_study_that_takes_no_more_trials() -> None:
    ups, _, _ = warm_ups(closed=True)
    ups.begin(4)
    assert not ups.take("warm") and ups.over()


def test_a_warm_up_has_a_process_that_no_trial_may_wait_for() -> None:
    ups, _, _ = warm_ups()
    ups.begin(4)
    assert ups.ahead(running=1) == 3
    assert ups.take("one") and ups.take("two")
    assert ups.ahead(running=1) == 1
    ups.end("one")
    ups.end("never one")
    assert ups.ahead(running=1) == 2
    assert ups.ahead(running=4) == 1, "one always waits: Ray keeps a process only for a trial that does"
    ups.begin(1, limit=8)
    assert ups.ahead(running=1) == 7
