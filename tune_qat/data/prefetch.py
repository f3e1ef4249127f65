"""Batches prepared ahead by one thread, so that reading and copying overlap with training."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch

AHEAD = 2
"""Batches that are ready or being prepared while one is in use."""
THREAD_NAME = "tune_qat-batches"
Batch = tuple[torch.Tensor, torch.Tensor]
Prepare = Callable[[torch.Tensor], Batch]


def prepared_ahead(
    prepare: Prepare, indices: Iterable[torch.Tensor], device: torch.device
) -> Generator[Batch, None, None]:
    """Yield `prepare(index)` for each index, in order, from a thread that works ahead.

    An exception of `prepare` is raised here. The thread ends with the generator, whether that is exhausted, closed,
    collected or left by an exception; at most the batch that is being prepared is waited for.

    Args:
        prepare: function that makes a batch on `device`; runs in the thread.
        indices: sample indices of each batch.
        device: device of the batches; those of a GPU are made on a stream of their own.
    """
    maker = _GpuMaker(prepare, device) if device.type == "cuda" else _Maker(prepare)
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD_NAME) as thread:
        try:
            for index in indices:
                waiting.append(thread.submit(maker.make, index))
                if len(waiting) > AHEAD:
                    yield maker.received(waiting.popleft().result())
            while waiting:
                yield maker.received(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()


class _Made(NamedTuple):
    batch: Batch
    event: torch.cuda.Event | None
    """Event that the GPU reaches when the batch is complete; None on the host, where it is complete already."""


class _Maker:
    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare

    def make(self, index: torch.Tensor) -> _Made:
        """Make a batch; called in the thread."""
        return _Made(self._prepare(index), None)

    def received(self, made: _Made) -> Batch:
        """Return the batch for use; called by the consumer of the batches."""
        return made.batch


class _GpuMaker(_Maker):
    """A maker with a stream of its own: copies to the GPU run while the current stream computes."""

    def __init__(self, prepare: Prepare, device: torch.device) -> None:
        super().__init__(prepare)
        self._device = device
        self._stream = torch.cuda.Stream(device)
        # The current stream put there what is on the GPU already.
        self._stream.wait_stream(torch.cuda.current_stream(device))

    def make(self, index: torch.Tensor) -> _Made:
        with torch.cuda.stream(self._stream):
            return _Made(self._prepare(index), self._stream.record_event())

    def received(self, made: _Made) -> Batch:
        current = torch.cuda.current_stream(self._device)
        if made.event is not None:
            current.wait_event(made.event)
        for tensor in made.batch:
            tensor.record_stream(current)  # its memory is not reused before the current stream is done with it
        return made.batch
