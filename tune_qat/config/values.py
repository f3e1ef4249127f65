"""Words that settings are made of, and checked numbers."""

import hashlib
import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tune_qat.config.errors import UsageError
from tune_qat.config.shown import shown

FLOAT_BITS = 32
"""A bit width that means "not quantized"."""
EAGER, INDUCTOR, AUTO = "eager", "inductor", "auto"
BACKENDS = (AUTO, EAGER, INDUCTOR)
"""Ways to run a training step: torch's eager operations, the same compiled, or compiled where it pays."""
STE_VARIANTS = ("clip_then_round", "round_then_clip")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
"""Names of studies, arms and trials, which become file names."""
STORAGE_OPTIONS = ("in_memory",)
"""Options of datasets that say where decoded samples are kept, and change none of them."""
SCHEDULES = ("cosine", "step", "constant")
DECAY = 0.1
"""Factor that `step` multiplies the rate by, where it is left out."""
SEEDS = 2**32
"""Seeds are below this: torch's CPU generator keeps no more of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A searched dimension: low to high, both included, on a linear or logarithmic axis."""

    low: float
    high: float
    log: bool = True


def check_backend(name: str) -> None:
    """Refuse a backend that there is not."""
    check(name in BACKENDS, "backend (--backend)", f"be one of {', '.join(BACKENDS)}", name)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number: numpy's are, truth values are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def real(name: str, value: object) -> float:
    """Take a finite number as a float."""
    if not is_number(value):
        raise UsageError(f"{name} must be a finite number, but got {shown(value)}.")
    return float(value)


def whole(name: str, value: object) -> int:
    """Take a whole number as an int."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number, but got {shown(value)}.")
    return int(value)


def plain(name: str, value: object) -> Any:
    """Take a value that JSON keeps as it is: text, truth, finite number, or list or table of such; tuples as lists."""
    if isinstance(value, str | bool) or (isinstance(value, int | float) and is_number(value)):
        return value
    if isinstance(value, list | tuple):
        return [plain(name, one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(name, one) for key, one in value.items()}
    raise UsageError(f"{name} must be text, a truth value, a finite number, a list or a table, but got {shown(value)}.")


def settle(part: Any, take: Callable[[str, object], object], *names: str, said: str = "{}") -> None:
    """Put fields of a frozen dataclass into their type; `said` is what an error calls a field."""
    for name in names:
        object.__setattr__(part, name, take(said.format(name), getattr(part, name)))


def check(holds: bool, name: str, rule: str, value: object) -> None:
    """Refuse a value that breaks a rule."""
    if not holds:
        raise UsageError(f"{name} must {rule}, but got {shown(value)}.")


def pair(name: str, bits: Iterable[int]) -> tuple[int, int]:
    """Take two whole numbers as weight and activation bits."""
    found = tuple(whole(name, one) for one in bits)
    if len(found) != 2:
        raise UsageError(f"{name} must be [weight bits, activation bits], but got {shown(list(found))}.")
    return found


def stable_hash(value: Any) -> str:
    """Hash the value's canonical JSON: the first 16 hex digits of its SHA-256."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
