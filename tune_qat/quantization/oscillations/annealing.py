"""The schedule of freezing and dampening."""

import math

WARM_UP = 0.25
"""Share of the training before either begins."""


def annealed(start: float, end: float, progress: float) -> float:
    """Return `start` during the first quarter of the training, then a value on a cosine from `start` to `end`.

    `progress` is the share of the steps that are done, from 0 (the first step) to 1 (after the last).
    """
    part = max(0.0, progress - WARM_UP) / (1 - WARM_UP)
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * part))
