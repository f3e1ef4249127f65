"""Values that others wrote, within limits: so deep, of so many bits, and text that is Unicode."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.config.regular import check_regular

LEVELS = 50
"""Most lists and mappings in one another."""


def plain(value: Any, level: int = 0) -> Any:
    """Return a value with numbers of at most 64 bits and with text that can be written.

    Raises `ValueError` where lists and mappings nest too deep.
    """
    if level > LEVELS:
        raise ValueError(f"values nest more than {LEVELS} deep")
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(one, level + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, level + 1) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half of a surrogate pair is no character
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return math.inf if value > 0 else -math.inf
    return value


def from_json(text: str) -> Any:
    """Read JSON; `ValueError` where it is none, or goes beyond the limits."""
    try:
        return plain(json.loads(text))
    except RecursionError:
        raise ValueError(f"values nest more than {LEVELS} deep") from None


def text_of(path: Path, errors: str = "strict") -> str:
    """Read a text file; `TuneQatError` that names it where it cannot be read."""
    check_regular(path)
    try:
        return path.read_text(encoding="utf-8", errors=errors)
    except UnicodeDecodeError as error:
        raise TuneQatError(f"{path} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise TuneQatError(f"{path} cannot be read: {error.strerror}.") from None
