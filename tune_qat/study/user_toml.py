"""TOML that a user wrote, read within limits that no study comes near: beyond them reading it could take minutes."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.shown import cut, shown

LEVELS = 20
"""Most sections and lists in one another."""
BYTES = 1_000_000
"""Size of the largest file."""
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*"|'[^'\n]*')(?:[ \t]+\.[ \t]*|\.)){100}""")
"""A key of so many parts that tomllib, which takes the square of their number, is not asked; sentences are no key."""


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Read TOML; `where` names it in an error.

    Raises:
        TOMLDecodeError: the text is no TOML.
        UsageError: it nests too deep, or holds a whole number of more than 64 bits, the largest of TOML.
    """
    too_deep = f"{where}: a key may have {LEVELS} parts, and sections and lists may be {LEVELS} deep"
    long = _LONG_KEY.search(text)
    if long:
        raise UsageError(f"{too_deep}, but got {cut(long[0])}.")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise UsageError(f"{too_deep}, but this goes deeper.") from None
    except ValueError:  # of Python, which reads no more than 4,300 digits
        raise UsageError(f"{where}: a whole number must fit into 64 bits, but one has thousands of digits.") from None
    for key, depth, value in _values("", values):
        if depth > LEVELS:
            raise UsageError(f"{too_deep}, but {cut(key)} goes deeper.")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise UsageError(f"{where}: a whole number must fit into 64 bits, but {cut(key)} is {shown(value)}.")
    return values


def read_file(path: Path) -> dict[str, Any]:
    """Read a study file; a `UsageError` with its name where it cannot be read, or is not one."""
    try:
        if path.stat().st_size > BYTES:
            raise UsageError(f"{path} is larger than {BYTES:,} bytes, which no study file is.")
        # Some editors put a byte order mark first.
        return read_toml(path.read_text(encoding="utf-8-sig"), str(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {cut(str(error))}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _values(key: str, value: Any, depth: int = 0) -> Iterator[tuple[str, int, Any]]:
    """Yield every value with its dotted key and its depth; nothing below the first that is too deep."""
    yield key, depth, value
    if depth <= LEVELS and isinstance(value, Mapping | list):
        inside = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, one in inside:
            yield from _values(f"{key}.{name}" if key else str(name), one, depth + 1)
