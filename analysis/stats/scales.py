"""Ranges of axes that are robust to a few far-off values."""

import pandas as pd


def fenced(values: pd.Series, *ends: pd.Series) -> tuple[float, float] | None:
    """Return the range of values and of the ends of their intervals, without those beyond Tukey's inner fences.

    The fences are one and a half interquartile ranges from the quartiles (Tukey, 1977). None where no value is known.
    """
    known = values.dropna()
    if not len(known):
        return None
    first, third = known.quantile(0.25), known.quantile(0.75)
    fence = 1.5 * (third - first)
    inside = values.between(first - fence, third + fence)
    # An interval much wider than the range of the values is cut.
    least, most = values[inside].min(), values[inside].max()
    shown = pd.concat([values[inside], *(end[inside] for end in ends)]).dropna()
    if most > least:
        shown = shown.clip(2 * least - most, 2 * most - least)
    low, high = float(shown.min()), float(shown.max())
    room = 0.04 * (high - low) or abs(high) * 0.01 or 1.0
    return low - room, high + room


def floor(scores: pd.Series, sign: int) -> float:
    """Return the score at the worse edge of a panel; worse ones are drawn there, which leaves room for the better ones.

    It lies below the lower quartile by half the distance from there to the best, but not beyond the worst score.
    """
    objective = sign * scores
    best, low = float(objective.max()), float(objective.quantile(0.25))
    return sign * max(low - 0.5 * (best - low), float(objective.min()))


def panel_range(edge: float, best: float) -> list[float]:
    """Return the range from the worse edge to the best score, smaller end first, with a small margin."""
    room = 0.06 * abs(best - edge) or abs(best) * 0.01 or 1.0
    return [min(edge, best) - room, max(edge, best) + room]
