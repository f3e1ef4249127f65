"""Trials as points of Optuna's search spaces: a space for each board, which all its arms share.

A board is a study's workload at one pair of bits with one method: its optimizers are compared with each other, so that
the optimizer is a parameter of the space.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tune_qat.trackers.recorded import Recorded

BATCH_SIZE = "batch_size"
_WORDS = ("optimizer", "step_optimizer", "bits")
"""Dimensions whose values are names."""
Values = Mapping[str, str | float | int]


def board_of(found: Recorded) -> str:
    """Return the name of the Optuna study that a trial belongs to; files of one whole study have it in common."""
    arm = found.arm
    bits = "searched bits" if arm.get("weight_bits") is None else f"w{arm['weight_bits']}a{arm['activation_bits']}"
    method = arm.get("method") if arm.get("method") != "none" else None
    parts = [arm.get("whole") or found.trial["study_id"], arm["workload"], bits, method, arm.get("control")]
    return " ".join(str(part) for part in parts if part)


def values_of(found: Recorded) -> Values:
    """Return what a trial has of the dimensions of its arm's search, by their names."""
    trial, config = found.trial, json.loads(found.trial.get("params_json") or "{}")
    known = {
        **(config.get("optimizer_options") or {}),
        **{name: trial.get(name) for name in ("learning_rate", BATCH_SIZE, "quantizer_lr_multiplier")},
        "step_rate": (config.get("quantizer_optimizer") or {}).get("learning_rate"),
    }
    numbers = {name: known.get(name) for name in _ranges(found)}
    words = {
        "optimizer": trial.get("optimizer"),
        "step_optimizer": found.arm.get("step_optimizer"),
        "bits": f"{trial['weight_bits']}/{trial['activation_bits']}" if found.arm.get("weight_bits") is None else None,
    }
    return {name: value for name, value in {**words, **numbers}.items() if value is not None}


@dataclass
class Space:
    """Search space of a board, which holds every point that it has been told of."""

    words: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    linear: set[str] = field(default_factory=set)
    """Numbers that an arm searches on a linear scale."""

    @classmethod
    def of(cls, trials: Iterable[Recorded]) -> "Space":
        space = cls()
        for found in trials:
            for name, value in values_of(found).items():
                if name in _WORDS:
                    space.words[name].add(str(value))
                else:
                    space.numbers[name].append(float(value))
            for name, bounds in _ranges(found).items():
                space.numbers[name] += [float(bounds["low"]), float(bounds["high"])]
                if not bounds.get("log") and name != BATCH_SIZE:
                    space.linear.add(name)
        return space

    def including(self, distributions: Mapping[str, BaseDistribution]) -> "Space":
        """Return the space with all that these distributions hold."""
        for name, one in distributions.items():
            if isinstance(one, CategoricalDistribution):
                self.words[name] |= {str(choice) for choice in one.choices}
            elif isinstance(one, FloatDistribution | IntDistribution):
                self.numbers[name] += [one.low, one.high]
                if not one.log:
                    self.linear.add(name)
        return self

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each dimension. Batch sizes are powers of two."""
        found: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(sorted(words)) for name, words in self.words.items()
        }
        for name, numbers in self.numbers.items():
            low, high = min(numbers), max(numbers)
            log = low > 0 and name not in self.linear
            if name == BATCH_SIZE:
                found[name] = IntDistribution(int(low), int(high), log=log)
            else:
                found[name] = FloatDistribution(low, high, log=log)
        return found


def _ranges(found: Recorded) -> Mapping[str, Mapping[str, Any]]:
    """Return the ranges that the trial's optimizer is searched in."""
    spaces = json.loads(found.arm.get("space_json") or "{}")
    ranges = spaces.get(found.trial.get("optimizer")) if isinstance(spaces, dict) else None
    return {name: one for name, one in (ranges or {}).items() if name not in _WORDS}


def same_kind(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Return whether Optuna takes both for one parameter of a study: ranges may differ, choices may not."""
    if isinstance(one, CategoricalDistribution) or isinstance(other, CategoricalDistribution):
        return one == other
    return type(one) is type(other) and one.log == other.log  # type: ignore[attr-defined]
