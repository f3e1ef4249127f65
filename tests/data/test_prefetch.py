import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator

import pytest
import torch

from tune_qat.data.prefetch import AHEAD, THREAD_NAME, Batch, prepared_ahead

CPU = torch.device("cpu")
INDICES = [torch.tensor([i]) for i in range(10)]
PATIENCE_S = 30.0
"""For a thread that has to come round to something; reached only where it never does."""


def batch(index: torch.Tensor) -> Batch:
    return index * 2, index * 3


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


class Recorder:
    """Prepares batches, and knows which ones it has prepared."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.seen: list[int] = []
        self.reached = [threading.Event() for _ in INDICES]
        self._fail_at = fail_at

    def __call__(self, index: torch.Tensor) -> Batch:
        number = int(index)
        self.seen.append(number)
        self.reached[number].set()
        if number == self._fail_at:
            raise ValueError(f"no batch {number}")
        return batch(index)


@pytest.mark.parametrize("n", [0, 1, AHEAD, AHEAD + 1, 10])
def test_batches_come_in_order_and_the_thread_ends_with_them(n: int) -> None:
    found = [(int(x), int(y)) for x, y in prepared_ahead(batch, INDICES[:n], CPU)]
    assert found == [(2 * i, 3 * i) for i in range(n)]
    assert not threads()


def test_two_batches_are_made_while_one_is_in_use_and_no_more() -> None:
    record = Recorder()
    batches = prepared_ahead(record, INDICES, CPU)
    next(batches)
    assert record.reached[AHEAD].wait(PATIENCE_S), "nothing is made ahead"
    next(batches)
    assert record.reached[AHEAD + 1].wait(PATIENCE_S)
    assert len(threads()) == 1
    batches.close()
    assert record.seen == list(range(AHEAD + 2))


def test_nothing_starts_before_a_batch_is_asked_for() -> None:
    record = Recorder()
    batches = prepared_ahead(record, INDICES, CPU)
    assert not record.seen and not threads()
    batches.close()


def test_an_error_is_raised_where_its_batch_is_due_and_ends_the_thread() -> None:
    batches = prepared_ahead(Recorder(fail_at=4), INDICES, CPU)
    assert [int(next(batches)[0]) for _ in range(4)] == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="no batch 4"):
        next(batches)
    assert not threads()


def leave_by_break(batches: Generator[Batch, None, None]) -> None:
    for _ in batches:
        break
    batches.close()


def leave_by_error(batches: Generator[Batch, None, None]) -> None:
    with pytest.raises(RuntimeError, match="of the consumer"):
        for _ in batches:
            raise RuntimeError("of the consumer")
    batches.close()


def leave_by_dropping(batches: Generator[Batch, None, None]) -> None:
    next(batches)


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_dropping])
def test_leaving_early_ends_the_thread(leave: Callable[[Generator[Batch, None, None]], None]) -> None:
    record = Recorder()
    leave(prepared_ahead(record, INDICES, CPU))
    assert not threads()
    assert len(record.seen) <= AHEAD + 1


def test_leaving_early_waits_for_the_batch_in_the_making_alone() -> None:
    consumer, started = threading.get_ident(), []

    def prepare(index: torch.Tensor) -> Batch:
        started.append(int(index))
        if int(index) == 1:
            wait_until_it_is_in("shutdown", consumer)
        return batch(index)

    batches = prepared_ahead(prepare, INDICES, CPU)
    next(batches)
    batches.close()
    assert started in ([0], [0, 1])


def wait_until_it_is_in(function: str, thread: int) -> None:
    """Wait until a thread is in a function of this name."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        names = [summary.name for summary in traceback.extract_stack(sys._current_frames()[thread])]
        if function in names:
            return
        time.sleep(0.001)
    raise TimeoutError(f"thread {thread} never came to {function}")


def test_the_thread_computes_with_as_many_threads_as_the_trial() -> None:
    torch.set_num_threads(2)  # put back to what it was by the fixture of all tests
    counts: list[int] = []

    def prepare(index: torch.Tensor) -> Batch:
        counts.append(torch.get_num_threads())
        return batch(index)

    list(prepared_ahead(prepare, INDICES[:3], CPU))
    assert counts == [2, 2, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_made_on_a_stream_of_their_own_are_whole_when_they_are_used() -> None:
    device = torch.device("cuda")
    source = torch.arange(10 * 2**22, dtype=torch.float32).reshape(10, -1)

    def prepare(index: torch.Tensor) -> Batch:
        rows = source[index].pin_memory().to(device, non_blocking=True)
        return rows * 2, rows.sum(1)

    for number, (doubled, _) in enumerate(prepared_ahead(prepare, INDICES, device)):
        busy = torch.randn(2048, 2048, device=device)
        for _ in range(5):
            busy = busy @ busy / 2048
        assert torch.equal(doubled.cpu(), source[number : number + 1] * 2)
