"""Signals that stop a run: the user's Ctrl-C, a terminal that closes, and what Slurm and Kubernetes send first."""

import os
import signal
import stat
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
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        if self.clean is None or not first:
            raise KeyboardInterrupt(f"stopped by {_NAMES.get(number, signal.Signals(number).name)}")
        self.clean()

    def install(self) -> None:
        """Take the signals, once more after `ray.init`, which takes SIGTERM for itself.

        Not those that are ignored, as SIGHUP under `nohup`, and outside the main thread, where none arrive, none.
        """
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self)


@contextmanager
def stops() -> Iterator[Stops]:
    """Handle these signals for as long as the block runs."""
    handler = Stops()
    before = {number: signal.getsignal(number) for number in STOPS}
    handler.install()
    try:
        yield handler
    except SystemExit as ended:
        # Ray's own handler, while it starts.
        if ended.code != signal.SIGTERM:
            raise
        raise KeyboardInterrupt("stopped by SIGTERM") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, old in before.items():
                signal.signal(number, old)


def _let_go_of_terminal() -> None:
    """What is still printed goes nowhere: writing to a terminal that is gone is an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


_NAMES = {int(signal.SIGINT): "Ctrl-C"}
