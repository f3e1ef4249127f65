"""Fields of a trial that trade memory for time and change no more than rounding, and those that say where they do."""

from collections.abc import Iterable
from typing import Any

from tune_qat.config.errors import UsageError
from tune_qat.config.shown import shown
from tune_qat.config.values import check

AUTOCAST_OFF, BFLOAT16 = "off", "bfloat16"
AUTOCAST = (AUTOCAST_OFF, BFLOAT16)
"""Formats of what is not quantized in the steps of a trial: float32, or products in bfloat16."""


def check_micro_batch(micro_batch: int, sizes: Iterable[int], option: str) -> None:
    """Raise `UsageError` for a batch size above the micro-batch that this does not divide; `option` is its spelling.

    A smaller batch is its own micro-batch. A micro-batch of 0 divides everything.
    """
    for size in sizes:
        if micro_batch and size > micro_batch and size % micro_batch:
            raise UsageError(
                f"{option} = {size} does not fall into micro-batches of {micro_batch} (training.micro_batch; of "
                "`train`, --set micro_batch): each step adds up whole ones. Take a divisor of it, such as "
                f"{max(part for part in range(1, micro_batch) if size % part == 0)}."
            )


def settle_memory(config: Any) -> None:
    """Check the fields of a trial on memory, and bring them to the one spelling that each training has.

    A micro-batch that holds the whole batch is none.
    """
    check(config.micro_batch >= 0, "micro_batch", "be at least 0", config.micro_batch)
    check(config.autocast in AUTOCAST, "autocast", f"be one of {', '.join(AUTOCAST)}", config.autocast)
    for name in ("micro_batch_norm", "channels_last"):
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be true or false, but got {shown(value)}.")
    check_micro_batch(config.micro_batch, [config.batch_size], "batch_size")
    if config.micro_batch >= config.batch_size:
        object.__setattr__(config, "micro_batch", 0)
    if not config.micro_batch:
        object.__setattr__(config, "micro_batch_norm", False)


def drop_rounding(values: dict[str, Any]) -> None:
    """Leave out of a trial's identity what changes no more than rounding."""
    values.pop("channels_last", None)
    if not values.get("micro_batch_norm"):
        values.pop("micro_batch", None)
