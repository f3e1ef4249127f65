"""Ranges of axes that a few far-off values do not spoil for the others."""

import pandas as pd


def fenced(values: pd.Series, *ends: pd.Series) -> tuple[float, float] | None:
    """The range of values and of the ends of their intervals, without those beyond Tukey's inner fences.

    One and a half interquartile ranges from the quartiles (Tukey, 1977); None where no value is known.
    """
    known = values.dropna()
    if not len(known):
        return None
    first, third = known.quantile(0.25), known.quantile(0.75)
    fence = 1.5 * (third - first)
    inside = values.between(first - fence, third + fence)
    # An interval that is much wider than the values lie apart is cut.
    least, most = values[inside].min(), values[inside].max()
    shown = pd.concat([values[inside], *(end[inside] for end in ends)]).dropna()
    if most > least:
        shown = shown.clip(2 * least - most, 2 * most - least)
    low, high = float(shown.min()), float(shown.max())
    room = 0.04 * (high - low) or abs(high) * 0.01 or 1.0
    return low - room, high + room


def floor(scores: pd.Series, sign: int) -> float:
    """The score at the worse edge of a panel; what is worse is drawn there, so that the better ones can be told apart.

    As far below the lower quartile as half the way from there to the best; the worst score where none is worse.
    """
    objective = sign * scores
    best, low = float(objective.max()), float(objective.quantile(0.25))
    return sign * max(low - 0.5 * (best - low), float(objective.min()))


def panel_range(edge: float, best: float) -> list[float]:
    """From the worse edge to the best score, the smaller first, with a little room."""
    room = 0.06 * abs(best - edge) or abs(best) * 0.01 or 1.0
    return [min(edge, best) - room, max(edge, best) + room]
