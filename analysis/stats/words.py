"""Numbers and names in sentences."""

import math
from collections.abc import Sequence

from tune_qat.text.numbers import digits

IN_POINTS = {"fraction": 100.0, "percent": 1.0}
"""Factors to percentage points, for units whose differences are given in these."""


def joined(names: Sequence[str], last: str = "and") -> str:
    """Join names as a list in a sentence: `a, b and c`."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(n: int, thing: str) -> str:
    """Return a number with its noun: `1 trial`, `2 trials`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def amount(value: float, unit: str) -> str:
    """Return a difference of two scores in words, without an interval, to three significant digits."""
    shown = digits(value * IN_POINTS.get(unit, 1.0), 3)
    name = unit_of_differences(unit)
    return f"{shown} {name.removesuffix('s') if shown == '1' else name}".rstrip()


def between(value: float, low: float, high: float, unit: str, what: str = "") -> str:
    """Return a difference with its interval, `0.8 points worse (0.5 .. 1.1)`, in the interval's significant digits."""
    factor = IN_POINTS.get(unit, 1.0)
    digits = _digits(low * factor, high * factor)
    shown, least, most = (f"{number * factor:.{digits}f}" for number in (value, low, high))
    words = [shown, unit_of_differences(unit), what, f"({least} .. {most})"]
    return " ".join(word for word in words if word)


def unit_of_differences(unit: str) -> str:
    """Return the unit of a difference: percentage points for shares, else the metric's own unit."""
    return "points" if unit in IN_POINTS else unit


def _digits(low: float, high: float) -> int:
    """Return the decimals that show one digit of the half width (two if it is 1), and an end as 0 only if it is 0."""
    half = (high - low) / 2
    if not half > 0 or not math.isfinite(half):
        return 3
    digits = max(0, -math.floor(math.log10(half / 2)))
    while digits < 6 and any(end and float(f"{end:.{digits}f}") == 0 for end in (low, high)):
        digits += 1
    return digits
