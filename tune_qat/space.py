"""Which dimensions are searched for an optimizer, and between which bounds."""

from typing import TYPE_CHECKING

from tune_qat import optimizers
from tune_qat.config import UsageError
from tune_qat.optimizers.base import Range

if TYPE_CHECKING:
    from tune_qat.study import Bounds, SpaceSection

BATCH_SIZE = "batch_size"
Dimensions = dict[str, Range]
"""By name. `batch_size` is searched over the powers of two between its ends; the others on their own axis."""


def dimensions(space: "SpaceSection", optimizer: str) -> Dimensions:
    """The table's ranges, overridden by the study's; `UsageError` for an empty range or an option of no use."""
    spec = optimizers.get_spec(optimizer)
    own = space.per_optimizer.get(optimizer, {})
    found: Dimensions = {
        "learning_rate": _override(
            _override(spec.learning_rate, space.learning_rate, "space.learning_rate"),
            own.get("learning_rate"),
            f"space.per_optimizer.{optimizer}.learning_rate",
        ),
        BATCH_SIZE: Range(low=space.batch_size.low, high=space.batch_size.high),
    }
    for option in {**spec.searched, **own}:
        if option == "learning_rate" or option in space.fixed.get(optimizer, {}):
            continue
        optimizers.resolve_options(optimizer, {option: 0.0})  # an option the optimizer does not take is an error
        where = f"space.per_optimizer.{optimizer}.{option}"
        found[option] = _override(spec.searched.get(option), own.get(option), where)
    if space.quantizer_lr_multiplier is not None:
        where = "space.quantizer_lr_multiplier"
        found["quantizer_lr_multiplier"] = _override(None, space.quantizer_lr_multiplier, where)
    return found


def _override(base: Range | None, bounds: "Bounds | None", where: str) -> Range:
    low = bounds.low if bounds and bounds.low is not None else base.low if base else None
    high = bounds.high if bounds and bounds.high is not None else base.high if base else None
    if low is None or high is None:
        raise UsageError(f"{where} needs both low and high: the table of optimizers has no range for it.")
    if low >= high:
        raise UsageError(f"{where}: low must be below high, but got low = {low:g} and high = {high:g}.")
    return Range(low=low, high=high, log=base.log if base else True)
