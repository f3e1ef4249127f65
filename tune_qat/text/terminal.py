"""Terminal that standard output is, if it is one: its width, its colours, its characters."""

import os
import sys

FALLBACK = 80
"""Width where a terminal does not tell its own."""
_PLAIN = str.maketrans(
    {
        **dict(zip("─━…├┤●┊◂▸│└┴×•◆", "-=~||o:<>|++x*#", strict=True)),
        **dict.fromkeys(map(chr, range(0x2801, 0x2900)), "."),
    }
)


def is_terminal() -> bool:
    """Return whether standard output is a terminal, and no pipe or file."""
    return sys.stdout.isatty()


def width() -> int | None:
    """Return the characters in a line of the terminal, None for a pipe or a file, whose lines have no end.

    COLUMNS has the last word, as in other programs.
    """
    if not is_terminal():
        return None
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or FALLBACK
    except (OSError, ValueError):
        return FALLBACK


def has_colours() -> bool:
    """Return whether escapes for colours may be written: to a terminal that knows them, and if NO_COLOR is not set."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def has_unicode() -> bool:
    """Return whether standard output takes any character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def drawable(text: str) -> str:
    """Return a text with rules and marks that the encoding of standard output has."""
    return text if has_unicode() else text.translate(_PLAIN)
