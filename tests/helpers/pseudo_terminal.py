"""A pseudo-terminal of a given size as standard output."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Screen:
    """What was written, once the terminal is closed."""

    text = ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@contextmanager
def pseudo_terminal(columns: int, rows: int = 24) -> Iterator[Screen]:
    """Standard output is a terminal of this size for the block."""
    screen, (ours, theirs) = Screen(), pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    taken: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 65_536):
                taken.append(part)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    before = sys.stdout
    try:
        with open(theirs, "w", encoding="utf-8") as sys.stdout:
            yield screen
    finally:
        sys.stdout = before
        reader.join()
        os.close(ours)
        screen.text = b"".join(taken).decode().replace("\r\n", "\n")
