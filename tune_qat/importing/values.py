"""Values of a trial's roles, checked and converted to our types."""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.shown import listed, shown
from tune_qat.config.statuses import ENDED_WELL
from tune_qat.importing.found import FoundStudy, FoundTrial
from tune_qat.importing.roles import Role, Taken

NOT_QUANTIZED = 32


def values_of(study: FoundStudy, trial: FoundTrial, taken: Mapping[str, Taken]) -> dict[str, Any] | None:
    """Return the values of a trial's roles; None for a trial that did not end well and lacks a needed one.

    Raises `UsageError` if a trial that ended well lacks a needed value, or if a value is not valid for its role.
    """
    values = {}
    for name, one in taken.items():
        found = one.value(trial)
        if found is None and one.role.needed:
            if trial.status not in ENDED_WELL:
                return None
            raise UsageError(
                f"Trial {trial.number} of study {shown(study.name)} has no {name.replace('_', ' ')} "
                f"({one.role.option}). It has {listed(trial.named) or 'no parameters'}."
            )
        values[name] = None if found is None else _read(one.role, found, trial)
    for name in ("weight_bits", "activation_bits"):
        values[name] = NOT_QUANTIZED if values[name] is None else values[name]
    return values


def _read(role: Role, value: Any, trial: FoundTrial) -> Any:
    read, rule = _RULES[role.name]
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(
            f"The {role.name.replace('_', ' ')} of trial {trial.number} must be {rule}, but is {shown(value)} "
            f"({role.option})."
        ) from None


def _number(value: Any, *, above: float = -math.inf) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > above):
        raise ValueError(value)
    return number


def _whole(value: Any, *, low: int, high: int) -> int:
    number = _number(value)
    if not (number.is_integer() and low <= number <= high):
        raise ValueError(value)
    return int(number)


def _optimizer(value: Any) -> str:
    """Return an optimizer's name in the spelling of our table: `AdamW` is adamw, `torch.optim.SGD` is sgd."""
    name = re.sub(r"[^a-z0-9]+", "_", str(value).lower().rpartition(".")[2]).strip("_")
    if not name:
        raise ValueError(value)
    return name


_RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "optimizer": (_optimizer, "a name"),
    "learning_rate": (partial(_number, above=0), "a number above 0"),
    "batch_size": (partial(_whole, low=1, high=2**31 - 1), "a whole number from 1"),
    "seed": (partial(_whole, low=0, high=2**63 - 1024), "a whole number from 0"),
    "weight_bits": (partial(_whole, low=1, high=32), "a whole number from 1 to 32"),
    "activation_bits": (partial(_whole, low=1, high=32), "a whole number from 1 to 32"),
    "weight_decay": (_number, "a number"),
    "momentum": (_number, "a number"),
}
