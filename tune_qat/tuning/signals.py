"""Signals that stop a run: Ctrl-C, a terminal that closes (SIGHUP), and Slurm's and Kubernetes' SIGTERM."""

import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from tune_qat.config import Interrupted
from tune_qat.config.system import signals

STOPS = signals("SIGINT", "SIGTERM", "SIGHUP")
INSIST_S = 0.2
"""Seconds in which a signal reaches the main thread if that is not inside a call."""
END_S = 15.0
"""Seconds after the second signal at which the process ends, whatever it is doing."""
STOPPING = """\
Stopping: all that is recorded stays, and the same command goes on.
Press Ctrl-C again to end at once."""
ENDING = f"Ending at once, in {END_S:.0f} seconds at the latest."


class Stops:
    def __init__(self, again: str = "") -> None:
        """Make a handler; `again` says how to go on, the last words of everything that a signal ends."""
        self.clean: Callable[[], None] | None = None
        """Function that the first signal calls; without one, and at a second signal, `KeyboardInterrupt` is raised."""
        self.leave: Callable[[], Any] = lambda: None
        """Function that gives the terminal back from a display, called from any thread before words are printed."""
        self.asked = False
        self.pressed = 0
        """Number of signals that have come: two that come close together are one call of this handler."""
        self._ending = False
        self._again = again

    def __call__(self, number: int, frame: Any) -> None:
        first, self.asked = not self.asked, True
        if number in signals("SIGHUP"):
            _let_go_of_terminal()
        if self.clean is None or not first or self.pressed > 1:
            self._ending = True
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            raise KeyboardInterrupt(self.last_words(f"stopped by {name}"))
        self.clean()

    def insist(self, number: int) -> None:
        """Send the signal again, from another thread, unless the second one has reached the main thread."""
        time.sleep(INSIST_S)
        main = threading.main_thread().ident
        if not self._ending and main is not None:
            signal.pthread_kill(main, number)

    def last_words(self, text: str) -> str:
        """Return the text, and how to go on."""
        return f"{text}\n{self._again}".rstrip()

    def tell(self, text: str) -> None:
        """Print to standard error from any thread, whatever the main thread does, in place of a display."""
        with suppress(Exception):
            self.leave()
        with suppress(OSError, ValueError):  # the terminal may be gone
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            begin = "\n" if os.isatty(2) else ""  # the line has a ^C in it
            os.write(2, f"{begin}{text.rstrip()}\n".encode())

    def end(self, text: str, code: int) -> NoReturn:
        """End the process with last words from any thread, also if its main thread does not return from a call."""
        self.tell(self.last_words(text))
        os._exit(code)

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
    handler = Stops(again)
    before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGUSR1)}
    handler.install()
    try:
        with _acknowledged(handler):
            yield handler
    except SystemExit as ended:
        # Ray's own handler raises it while Ray starts.
        if ended.code != signal.SIGTERM:
            raise
        raise KeyboardInterrupt(handler.last_words("stopped by SIGTERM")) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, old in before.items():
                signal.signal(number, old)


@contextmanager
def _acknowledged(handler: Stops) -> Iterator[None]:
    """Say at once that a signal has come; Python's handlers wait until the present call of Ray or storage returns."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The signal that ends a Tune run may come before Ray Tune handles it, and would end the process.
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=_acknowledge, args=(read, handler), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)
        thread.join()
        os.close(read)


def _acknowledge(read: int, handler: Stops) -> None:
    """Read the numbers of signals until the pipe is closed; end the process if that takes long after the second."""
    while True:
        ready, _, _ = select.select([read], [], [], END_S if handler.pressed > 1 else None)
        if not ready:
            handler.end("error: ended by a second signal", Interrupted.exit_code)
        numbers = os.read(read, 64)
        if not numbers:
            return
        stopping = [number for number in numbers if number in STOPS]
        before, handler.pressed = handler.pressed, handler.pressed + len(stopping)
        if handler.pressed and not before:
            handler.tell(STOPPING)
        if handler.pressed > 1 and before < 2:
            handler.tell(ENDING)
            handler.insist(stopping[-1])


def _let_go_of_terminal() -> None:
    """Send further output to /dev/null: writing to a terminal that is gone is an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
