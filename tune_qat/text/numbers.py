"""Numbers for people: a few significant digits, one style for learning rates, scores with their unit.

What is not known (None or NaN) is a dash. CSV, JSON, SQL and the record have numbers in full.
"""

import math

NOTHING = "–"
"""Text for a value that is not known."""
_PLAIN_FROM = 1e-4
"""Size below which a number is written with a power of ten."""
_PLAIN_TO = 1e15
_NEARLY_ALL = 0.99
"""Share above which a percentage gets a second decimal, as 99.93 % is not 99.95 %."""


def digits(value: float | None, n: int) -> str:
    """Return a number to `n` significant digits, `0.0032` or `3.2e-5`, and its whole part in full."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and (abs(value) < _PLAIN_FROM or abs(value) >= _PLAIN_TO):
        mantissa, exponent = f"{value:.{n - 1}e}".split("e")
        # Rounded up to where plain numbers begin.
        if int(exponent) >= round(math.log10(_PLAIN_FROM)) and abs(value) < 1:
            return digits(float(f"{value:.{n - 1}e}"), n)
        return f"{_short(mantissa)}e{int(exponent)}"
    return _short(f"{value:.{_decimals(value, n)}f}")


def rate(value: float | None) -> str:
    """Return a learning rate to two significant digits: `0.0032`, `3.2e-5`."""
    return digits(value, 2)


def score(value: float | None, unit: str, decimals: int | None = None) -> str:
    """Return a score with its unit: `98.2 %` of a fraction, `32.12 dB`.

    `decimals` are those of the number as it is shown, of a fraction of its percentage; numbers that stand one below the
    other have the same.
    """
    name = unit_name(unit)
    number = bare_score(value, unit, decimals)
    return number if number == NOTHING or not name else f"{number} {name}"


def bare_score(value: float | None, unit: str, decimals: int | None = None) -> str:
    """Return a score as `score` does, without its unit."""
    if value is None or math.isnan(value):
        return NOTHING
    number = 100 * value if unit == "fraction" else value
    return f"{number:.{_decimals_of_score(number, unit) if decimals is None else decimals}f}"


def duration(seconds: float) -> str:
    """Return how long a study takes: minutes below two hours, else hours."""
    return f"{seconds / 60:,.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} hours"


def unit_name(unit: str) -> str:
    """Return the unit that `score` writes: `%` for fractions and percentages, else its own name, if it has one."""
    return "%" if unit in ("fraction", "percent") else unit


def _decimals_of_score(number: float, unit: str) -> int:
    if unit in ("fraction", "percent"):
        return 2 if 100 * _NEARLY_ALL < abs(number) < 100 else 1
    return 2 if unit == "dB" else _decimals(number, 3)


def _decimals(value: float, n: int) -> int:
    """Return the decimals that leave `n` significant digits; none are taken from the whole part."""
    exponent = math.floor(math.log10(abs(float(f"{value:.{n - 1}e}")))) if value else 0
    return max(0, n - 1 - exponent)


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
