"""Numbers and names as sentences say them."""

import math
from collections.abc import Sequence

IN_POINTS = {"fraction": 100.0, "percent": 1.0}
"""Factors of units whose differences are percentage points."""


def joined(names: Sequence[str], last: str = "and") -> str:
    """One, two and three."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(n: int, thing: str) -> str:
    """One thing, two things."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def amount(value: float, unit: str) -> str:
    """A difference of two scores without an interval, to three significant digits."""
    shown = f"{value * IN_POINTS.get(unit, 1.0):.3g}"
    name = unit_of_differences(unit)
    return f"{shown} {name.removesuffix('s') if shown == '1' else name}".rstrip()


def between(value: float, low: float, high: float, unit: str, what: str = "") -> str:
    """A difference with its interval: `0.8 points worse (0.5 .. 1.1)`, to the digits that the interval carries."""
    factor = IN_POINTS.get(unit, 1.0)
    digits = _digits(low * factor, high * factor)
    shown, least, most = (f"{number * factor:.{digits}f}" for number in (value, low, high))
    words = [shown, unit_of_differences(unit), what, f"({least} .. {most})"]
    return " ".join(word for word in words if word)


def unit_of_differences(unit: str) -> str:
    """Percentage points for shares, else the metric's own unit."""
    return "points" if unit in IN_POINTS else unit


def _digits(low: float, high: float) -> int:
    """Decimals that show the half width to one digit, or two where that is 1, and no end as 0 that is not 0."""
    half = (high - low) / 2
    if not half > 0 or not math.isfinite(half):
        return 3
    digits = max(0, -math.floor(math.log10(half / 2)))
    while digits < 6 and any(end and float(f"{end:.{digits}f}") == 0 for end in (low, high)):
        digits += 1
    return digits
