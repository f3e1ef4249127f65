"""The area of searched ranges, and its new part."""

from tune_qat.study import Arm, Study
from tune_qat.study.space import Dimensions, is_position, width


def growth(old: Study, new: Study) -> float:
    """Return the new area as a multiple of the old one, for the arm where it is largest."""

    def mean(arm: Arm) -> float:
        about = arm.scheme, arm.step_optimizer
        spaces = [(old.dimensions(name, *about), new.dimensions(name, *about)) for name in arm.optimizers]
        return sum(_new_part(*both) for both in spaces) / len(spaces)

    return max(mean(arm) for arm in old.arms())


def _new_part(old: Dimensions, new: Dimensions) -> float:
    """Return the area outside the old ranges over the old area."""
    after, both = 1.0, 1.0
    for name, was in old.items():
        if not is_position(name):
            now = new[name]
            before = width(name, was.low, was.high, log=was.log)
            shared = width(name, max(was.low, now.low), min(was.high, now.high), log=was.log)
            after *= width(name, now.low, now.high, log=was.log) / before
            both *= max(0.0, shared) / before
    return after - both
