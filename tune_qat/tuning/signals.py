"""Signals that stop a run: Ctrl-C, a terminal that closes (SIGHUP), and Slurm's and Kubernetes' SIGTERM."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stops:
    def __init__(self) -> None:
        self.clean: Callable[[], None] | None = None
        """Function that the first signal calls; without one, and at a second signal, `KeyboardInterrupt` is raised."""
        self.asked = False

    def __call__(self, number: int, frame: Any) -> None:
        first, self.asked = not self.asked, True
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        if self.clean is None or not first:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            raise KeyboardInterrupt(f"stopped by {name}")
        self.clean()

    def install(self) -> None:
        """Handle the signals that are not ignored (SIGHUP is under `nohup`).

        Called again after `ray.init`, which takes SIGTERM for itself. Signals arrive in the main thread only.
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
        # Ray's own handler raises it while Ray starts.
        if ended.code != signal.SIGTERM:
            raise
        raise KeyboardInterrupt("stopped by SIGTERM") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, old in before.items():
                signal.signal(number, old)


def _let_go_of_terminal() -> None:
    """Send further output to /dev/null: writing to a terminal that is gone is an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
