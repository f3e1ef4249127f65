"""Lets every process of a run start beside its first trial."""

import time
from collections.abc import Callable

from tune_qat.tuning.queue import StudyQueue

WARM_UP_S = 120.0
"""Longest wait for every process to start, where a cluster has less room than it said."""


class WarmUps:
    """Stand-ins for trials, one for each process but the first, and how many trials may wait for a process.

    Ray gives a waiting trial to the first process that is free and drops the one that was starting for it. With
    trials shorter than a process takes to start, no second process would ever come up.
    """

    def __init__(self, queue: StudyQueue, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait for nothing yet; `clock` gives seconds and never goes back."""
        self.seen: dict[str, str] = {}
        """Ray's names of the processes that have got a trial, each with the last one."""
        self._queue, self._clock = queue, clock
        self._running: set[str] = set()
        self._slots = 1
        self._limit: int | None = None
        self._processes = 1
        self._left = 0
        self._until = 0.0

    def begin(self, room: int, limit: int | None = None) -> None:
        """Expect `room` processes, all of them new; `limit` is how many trials were asked for at once."""
        self.seen.clear()
        self._running.clear()
        self._slots, self._limit = max(1, room), limit
        self._expect(self._slots, warm_ups=self._slots - 1)

    def room(self, slots: int, waiting: int) -> None:
        """Expect the processes of nodes that have come; `waiting` trials start some of them by themselves."""
        more = slots - self._slots
        self._slots = max(1, slots)
        if more > 0:
            warm_ups = self._left + max(0, more - waiting)
            self._expect(len(self.seen) + warm_ups, warm_ups=warm_ups)

    def take(self, trial_id: str) -> bool:
        """Let a trial of Ray's be a warm-up, if there is one left."""
        if not self._left or self._queue.closed:
            return False
        self._left -= 1
        self._running.add(trial_id)
        return True

    def end(self, trial_id: str) -> None:
        """Forget a warm-up that has ended; nothing where it was none."""
        self._running.discard(trial_id)

    def ahead(self, running: int) -> int:
        """Count the trials that may wait for a process: one for each that could start, and one if none could.

        That one is what Ray's cache of processes needs; a sampler asked any earlier would know less. Up to a limit
        that the user gave, all wait: an autoscaler starts nodes for them.
        """
        return max(1, (self._limit or self._slots) - running - len(self._running))

    def over(self) -> bool:
        """Whether the warm-ups have done what they are for."""
        ready = bool(self._queue.arms) and len(self.seen) >= self._processes
        return ready or self._queue.closed or self._queue.finished or self._clock() > self._until

    def _expect(self, processes: int, *, warm_ups: int) -> None:
        self._processes, self._left = processes, warm_ups
        self._until = self._clock() + WARM_UP_S
