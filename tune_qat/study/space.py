"""Dimensions that are searched for an optimizer, and their ranges."""

import math
from collections.abc import Sequence
from itertools import product

from tune_qat import optimizers
from tune_qat.config import Range
from tune_qat.config.shown import shown
from tune_qat.study.mistakes import reported_at, rule_error
from tune_qat.study.search_sections import RangeOverride, SpaceSection

RATE = "learning_rate"
BATCH_SIZE = "batch_size"
BITS_INDEX = "bits"
GROUP_BITS = "bits."
"""Beginning of the name of a dimension that is a group of layers: a position in the list of candidates."""
MULTIPLIER = "quantizer_lr_multiplier"
STEP_RATE = "step_rate"
Dimensions = dict[str, Range]
"""Ranges by name. `batch_size` is searched over the powers of two between its ends, `bits` over the positions in the
study's list of pairs; the others on their own axis."""


def check_space(space: SpaceSection) -> None:
    """Check every name, option and range of the section; an error with its key for the first that is wrong."""
    names = space.optimizers
    if len(set(names)) != len(names):
        raise rule_error("space.optimizers", f"each optimizer may appear once, but got {shown(names)}")
    with reported_at("space.optimizers"):
        for name in names:
            optimizers.get_spec(name)
    for section in ("per_optimizer", "fixed"):
        for name in getattr(space, section):
            if name not in names:
                raise rule_error(f"space.{section}.{name}", f"must be one of space.optimizers ({', '.join(names)})")
    for name in names:
        _check_options(space, name)


def _check_options(space: SpaceSection, optimizer: str) -> None:
    """Check what is fixed and what is searched of one optimizer."""
    if optimizers.get_spec(optimizer).one_rate and space.quantizer_lr_multiplier is not None:
        raise rule_error("space.quantizer_lr_multiplier", optimizers.one_rate_only(optimizer))
    fixed, own = space.fixed.get(optimizer, {}), space.per_optimizer.get(optimizer, {})
    defaults = optimizers.get_spec(optimizer).defaults
    with reported_at(f"space.fixed.{optimizer}"):
        optimizers.resolve_options(optimizer, fixed)
    for option in own:
        where = f"space.per_optimizer.{optimizer}.{option}"
        if option in fixed:
            raise rule_error(where, f"searches what space.fixed.{optimizer}.{option} fixes; keep one of them")
        if option != "learning_rate":
            with reported_at(where):
                # That the optimizer takes the option; its range is looked at below.
                optimizers.resolve_options(optimizer, {option: defaults.get(option, 0.0)})
    for option, bounds in dimensions(space, optimizer).items():
        if option in defaults:
            with reported_at(f"space.per_optimizer.{optimizer}.{option}"):
                optimizers.resolve_options(optimizer, {option: bounds.low})
                optimizers.resolve_options(optimizer, {option: bounds.high})


def dimensions(space: SpaceSection, optimizer: str) -> Dimensions:
    """Return the table's ranges with the study's in their place; an error with its key for an empty range.

    An optimizer that finds its own rate has no learning rate to search, unless the study says so of it alone.
    """
    spec = optimizers.get_spec(optimizer)
    own = space.per_optimizer.get(optimizer, {})
    rates = (own.get("learning_rate"), space.learning_rate)
    where = f"space.per_optimizer.{optimizer}"
    where_rate = f"{where}.learning_rate" if rates[0] else "space.learning_rate"
    found: Dimensions = {}
    if spec.learning_rate is not None or rates[0]:
        found["learning_rate"] = range_of(spec.learning_rate, rates, where_rate, optimizer)
    found[BATCH_SIZE] = Range(low=space.batch_size.low, high=space.batch_size.high)
    for option in {**spec.searched, **own}:
        if option != "learning_rate" and option not in space.fixed.get(optimizer, {}):
            found[option] = range_of(spec.searched.get(option), (own.get(option),), f"{where}.{option}", optimizer)
    if space.quantizer_lr_multiplier is not None:
        found[MULTIPLIER] = range_of(None, (space.quantizer_lr_multiplier,), f"space.{MULTIPLIER}", optimizer)
    return found


def points(dimensions: Dimensions) -> list[dict[str, float]] | None:
    """Return every point of a search space; None for one with a continuous dimension, which has no end of them."""
    if any(name != BATCH_SIZE and not is_position(name) for name in dimensions):
        return None
    axes = [_axis(name, int(bounds.low), int(bounds.high)) for name, bounds in dimensions.items()]
    return [dict(zip(dimensions, point, strict=True)) for point in product(*axes)]


def is_position(name: str) -> bool:
    """Return whether a dimension's values are positions in a list of bits, which another study may have otherwise."""
    return name == BITS_INDEX or name.startswith(GROUP_BITS)


def width(name: str, low: float, high: float, *, log: bool) -> float:
    """Return the length of an interval on its dimension's axis; below zero or, for batch sizes, zero if it is empty.

    It is in decades for a logarithmic axis. A batch size counts its powers of two, both ends included.
    """
    if name == BATCH_SIZE:
        return math.log2(high / low) + 1
    return math.log10(high / low) if log else high - low


def _axis(name: str, low: int, high: int) -> list[int]:
    if is_position(name):
        return list(range(low, high + 1))
    return [2**power for power in range(low.bit_length() - 1, high.bit_length())]


def range_of(base: Range | None, bounds: Sequence[RangeOverride | None], where: str, optimizer: str) -> Range:
    """Take each end from the first override that has it, then from the table."""
    lows = [b.low for b in bounds if b and b.low is not None] + ([base.low] if base else [])
    highs = [b.high for b in bounds if b and b.high is not None] + ([base.high] if base else [])
    if not lows or not highs:
        raise rule_error(where, "needs both low and high: the table of optimizers has no range for it")
    low, high = lows[0], highs[0]
    if low >= high:
        raise rule_error(where, f"low must be below high, but {optimizer} would be searched from {low:g} to {high:g}")
    return Range(low=low, high=high, log=base.log if base else True)
