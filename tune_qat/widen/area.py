"""The area of searched ranges, and its new part."""

import math

from tune_qat.study import Arm, Study
from tune_qat.study.space import BATCH_SIZE, Dimensions

RATE = "learning_rate"


def growth(old: Study, new: Study) -> float:
    """Return the new area as a multiple of the old one, for the arm where it is largest."""

    def mean(arm: Arm) -> float:
        parts = [_new_part(old.dimensions(name), new.dimensions(name)) for name in arm.optimizers]
        return sum(parts) / len(parts)

    return max(mean(arm) for arm in old.arms())


def _new_part(old: Dimensions, new: Dimensions) -> float:
    """Return the area outside the old ranges over the old area."""
    before, after, both = 1.0, 1.0, 1.0
    for name in (RATE, BATCH_SIZE):
        if name not in old:
            continue
        # A batch size counts its powers of two, both ends included.
        more = 1.0 if name == BATCH_SIZE else 0.0
        shared = min(old[name].high, new[name].high) / max(old[name].low, new[name].low)
        before *= math.log2(old[name].high / old[name].low) + more
        after *= math.log2(new[name].high / new[name].low) + more
        both *= max(0.0, math.log2(shared) + more)
    return (after - both) / before
