"""Values of users as messages show them: as they were written, cut where they are long."""

from collections.abc import Iterable

LONGEST = 400
"""Characters of a value that are shown."""


def shown(value: object) -> str:
    """Return a value as Python writes it; of a long one its beginning, and how long it is."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # more digits, or more levels, than Python writes
        return "a value too large to be shown"


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text; of a long one its beginning, and how long it is."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def cause(error: BaseException) -> str:
    """Return the first line of what an error says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return cut(lines[0]) if lines else type(error).__name__


def listed(names: Iterable[str]) -> str:
    """Return names in a row; of very many the first."""
    return cut(", ".join(map(cut, names)), 5 * LONGEST)
