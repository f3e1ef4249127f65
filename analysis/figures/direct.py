"""Names at the ends of lines, in place of a legend: moved apart where they would overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from analysis.figures.style import faded

LINE = 13
"""Pixels from one name to the next."""
WIDE = 6.7
"""Pixels of a letter, about."""
MOST = 180
"""Pixels for names, however long they are."""
BESIDE = 14
"""Pixels from the end of a line to its name."""


@dataclass(frozen=True)
class End:
    """End of a line in a panel's coordinates (powers of ten on a logarithmic axis), and what is written there."""

    x: float
    y: float
    words: str
    colour: str


def room(words: Sequence[str]) -> int:
    """Return the pixels that names take at the right of a panel."""
    return round(min(MOST, BESIDE + WIDE * max(map(len, words), default=0)))


def apart(at: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return the places nearest to `at`, in the same order, that lie `least` apart between `low` and `high`.

    Nearest in least squares: places less their distances only have to rise, which is isotonic regression. Where
    there is not room for all, they are spread evenly.
    """
    count = len(at)
    least = min(least, (high - low) / max(1, count - 1))
    order, steps = np.argsort(at, kind="stable"), least * np.arange(count)
    rising = isotonic_regression(np.asarray(at, float)[order] - steps).x
    placed = np.empty(count)
    placed[order] = np.clip(rising, low, high - least * max(0, count - 1)) + steps
    return [float(place) for place in placed]


def annotations(ends: Sequence[End], span: tuple[float, float], tall: float) -> list[dict[str, object]]:
    """Return an annotation for each end; `span` is the range of the vertical axis, `tall` its height in pixels."""
    low, high = min(span), max(span)
    at = [float(np.clip((high - end.y) / (high - low), 0, 1)) * tall for end in ends]
    return [
        {
            **{"x": end.x, "y": high - place / tall * (high - low), "text": end.words, "ax": BESIDE},
            **{"ay": written - place, "xanchor": "left", "showarrow": True, "arrowhead": 0, "arrowwidth": 1},
            **{"arrowcolor": faded(end.colour, 0.5), "standoff": 4, "font": {"size": 11, "color": end.colour}},
        }
        for end, place, written in zip(ends, at, apart(at, LINE, 0, tall), strict=True)
    ]
