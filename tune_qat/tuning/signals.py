"""Signals that stop a run: Ctrl-C, a terminal that closes (SIGHUP), and Slurm's and Kubernetes' SIGTERM."""

import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from tune_qat.config import Interrupted

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_S = 15.0
"""Seconds after the second signal at which the process ends, whatever it is doing."""
STOPPING = "Stopping: all that is recorded stays, and the same command goes on. Press Ctrl-C again to end at once."


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
def stops(again: str = "") -> Iterator[Stops]:
    """Handle these signals for as long as the block runs; `again` is the last line of a process that ends within."""
    handler = Stops()
    before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGUSR1)}
    handler.install()
    try:
        with _acknowledged(again):
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


@contextmanager
def _acknowledged(again: str) -> Iterator[None]:
    """Say at once that a signal has come; Python's handlers wait until the present call of Ray or storage returns."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The signal that ends a Tune run may come before Ray Tune handles it, and would end the process.
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=_acknowledge, args=(read, again), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)
        thread.join()
        os.close(read)


def _acknowledge(read: int, again: str) -> None:
    """Read the numbers of signals until the pipe is closed; end the process if that takes long after the second."""
    stopping = 0
    while True:
        ready, _, _ = select.select([read], [], [], END_S if stopping > 1 else None)
        if not ready:
            end_process(f"error: ended by a second signal\n{again}", Interrupted.exit_code)
        numbers = os.read(read, 64)
        if not numbers:
            return
        before, stopping = stopping, stopping + sum(number in STOPS for number in numbers)
        if stopping and not before:
            _print(STOPPING)


def end_process(text: str, code: int) -> NoReturn:
    """Print last words and end the process from any thread, also if its main thread does not return from a call."""
    _print(text)
    os._exit(code)


def _print(text: str) -> None:
    with suppress(OSError, ValueError):  # the terminal may be gone
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        # A live display leaves the cursor hidden, and inside a line.
        start = "\x1b[?25h\n" if os.isatty(2) else ""
        os.write(2, f"{start}{text.rstrip()}\n".encode())


def _let_go_of_terminal() -> None:
    """Send further output to /dev/null: writing to a terminal that is gone is an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
