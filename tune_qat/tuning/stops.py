"""Signals that stop a run: the user's Ctrl-C, a terminal that closes, and what Slurm and Kubernetes send first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stops:
    """What the next of these signals does."""

    def __init__(self) -> None:
        self.clean: Callable[[], None] | None = None
        """Called by the first one, if set by then; otherwise, and by a second one, `KeyboardInterrupt` is raised."""
        self.asked = False

    def __call__(self, number: int, frame: Any) -> None:
        """The handler of all of them."""
        first, self.asked = not self.asked, True
        if self.clean is None or not first:
            raise KeyboardInterrupt(f"stopped by {_NAMES.get(number, signal.Signals(number).name)}")
        self.clean()


@contextmanager
def stops() -> Iterator[Stops]:
    """Handle these signals for as long as the block runs; outside the main thread, where none arrive, do nothing."""
    handler = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield handler
    finally:
        for number, old in before.items():
            signal.signal(number, old)


_NAMES = {int(signal.SIGINT): "Ctrl-C"}
