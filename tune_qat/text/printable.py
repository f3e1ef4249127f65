"""Text that a terminal only shows: control characters of others' data would move its cursor, or write files."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing, which makes text look like another
    "\ud800-\udfff]"  # half a character, of a name that is no UTF-8: it cannot be printed at all
)
"""Characters that a terminal obeys instead of showing them, and those that it cannot show."""


def printable(text: str) -> str:
    """Return a text with each control character as Python writes it, by its number; tabs and line feeds stay."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


@contextmanager
def printable_output() -> Iterator[None]:
    """Make everything that the block prints to standard output and standard error `printable`."""
    before, shown = (sys.stdout, sys.stderr), (Shown(sys.stdout), Shown(sys.stderr))
    sys.stdout, sys.stderr = shown
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in shown:
            stream.over = True


def exact(stream: TextIO) -> TextIO:
    """Return the stream that writes as it is told, for data in a pipe or a file, and for a display that draws."""
    return stream.exact if isinstance(stream, Shown) else stream


class Shown:
    """Stream of text that writes `printable` text to another one, which it is otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self.exact = stream
        self.over = False
        """Whether the block has ended. Ray's colours are reset at the end of the process, by who holds the stream."""

    def write(self, text: str) -> int:
        self.exact.write(text if self.over else printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exact, name)
