"""Warm-up of a run: all of its processes start while the first trial runs."""

import time
from collections.abc import Callable

from tune_qat.tuning.queue import StudyQueue

WARM_UP_S = 120.0
"""Longest wait for every process to start, in case a cluster has less room than it reports."""


class WarmUps:
    """Stand-ins for trials, one for each process but the first, and the number of trials that may wait for a process.

    Ray gives a waiting trial to the first free process, and drops the process that was starting for it. If trials are
    shorter than the start of a process, a second process would never come up.
    """

    def __init__(self, queue: StudyQueue, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no process; `clock` gives seconds and never goes back."""
        self.seen: dict[str, str] = {}
        """Last trial of each process, by Ray's name of the process."""
        self._queue, self._clock = queue, clock
        self._running: set[str] = set()
        self._limit: int | None = None
        self._slots, self._processes, self._left, self._until = 1, 1, 0, 0.0

    def begin(self, room: int, limit: int | None = None) -> None:
        """Wait for `room` new processes; `limit` is the user's limit of trials at once."""
        self.seen.clear()
        self._running.clear()
        self._slots, self._limit = max(1, room), limit
        self._expect(self._slots, warm_ups=self._slots - 1)

    def room(self, slots: int, waiting: int, running: int) -> None:
        """Add the processes of nodes that have joined, except those that trials start; expect no more if nodes left.

        `waiting` trials start a process by themselves, and `running` ones have theirs, perhaps on a node that joined.
        """
        more = min(slots - self._slots, slots - running - len(self._running) - self._left)
        if slots < self._slots:
            # A process that was on its way may never come: nothing waits for it.
            self._expect(len(self.seen), warm_ups=0)
        elif more > 0:
            warm_ups = self._left + max(0, more - waiting)
            self._expect(len(self.seen) + warm_ups, warm_ups=warm_ups)
        self._slots = max(1, slots)

    def take(self, trial_id: str) -> bool:
        """Make a trial of Ray's a warm-up, if one is left."""
        if not self._left or self._queue.closed:
            return False
        self._left -= 1
        self._running.add(trial_id)
        return True

    def end(self, trial_id: str) -> None:
        """Remove a warm-up that has ended; ignore any other trial."""
        self._running.discard(trial_id)

    def ahead(self, running: int) -> int:
        """Count the trials that may wait for a process: one for each that could start, at least one.

        Ray's cache of processes needs that one; more would be proposed by a sampler that knows fewer results. Up to a
        limit of the user all wait, so that an autoscaler starts nodes for them.
        """
        return max(1, (self._limit or self._slots) - running - len(self._running))

    def over(self) -> bool:
        """Tell whether all processes have started, or need not be waited for any more."""
        ready = bool(self._queue.arms) and len(self.seen) >= self._processes
        return ready or self._queue.closed or self._queue.finished or self._clock() > self._until

    def _expect(self, processes: int, *, warm_ups: int) -> None:
        self._processes, self._left = processes, warm_ups
        self._until = self._clock() + WARM_UP_S
