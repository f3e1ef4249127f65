"""Points of an arm's search space as parameters of Optuna, and back."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import optuna

from tune_qat.study.space import BATCH_SIZE, Dimensions, is_position

OPTIMIZER = "optimizer"


class Encoding(Protocol):
    """Parameters of Optuna for the points of a space."""

    def define(self, trial: Any) -> None:
        """Ask a trial of Optuna for its parameters."""

    def values(self, parameters: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
        """Return the optimizer and its values from Optuna's parameters."""

    def parameters(self, optimizer: str, values: Mapping[str, float]) -> dict[str, Any]:
        """Return Optuna's parameters of a point."""


class Branches:
    """Parameters under names of each optimizer's own, where there are several: TPE learns each by itself."""

    def __init__(self, spaces: Mapping[str, Dimensions]) -> None:
        self._define = space_function(spaces)
        self._only = next(iter(spaces)) if len(spaces) == 1 else None

    def define(self, trial: Any) -> None:
        """Ask a trial of Optuna for its parameters."""
        self._define(trial)

    def values(self, parameters: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
        """Return the optimizer and its values from Optuna's parameters."""
        return values_of(parameters, self._only)

    def parameters(self, optimizer: str, values: Mapping[str, float]) -> dict[str, Any]:
        """Return Optuna's parameters of a point."""
        return parameters_of(optimizer, values, joint=self._only is None)


def space_function(spaces: Mapping[str, Dimensions]) -> Callable[[Any], None]:
    """Return Optuna's define-by-run space: the optimizer if there are several, then its own dimensions."""

    def define(trial: Any) -> None:
        if len(spaces) == 1:
            optimizer, prefix = next(iter(spaces)), ""
        else:
            optimizer = trial.suggest_categorical(OPTIMIZER, list(spaces))
            prefix = f"{optimizer}."
        for name, bounds in spaces[optimizer].items():
            if name == BATCH_SIZE:
                # The exponent: Optuna can widen an integer range within one study, but not a categorical one.
                trial.suggest_int(f"{prefix}log2_{name}", int(math.log2(bounds.low)), int(math.log2(bounds.high)))
            elif is_position(name):
                trial.suggest_int(f"{prefix}{name}", int(bounds.low), int(bounds.high))
            else:
                trial.suggest_float(f"{prefix}{name}", bounds.low, bounds.high, log=bounds.log)

    return define


def values_of(parameters: Mapping[str, Any], only: str | None) -> tuple[str, dict[str, float]]:
    """Return the optimizer (`only` this one, unless the space is joint) and its values from Optuna's parameters."""
    optimizer = only or parameters[OPTIMIZER]
    prefix = "" if only else f"{optimizer}."
    own = [name for name in parameters if name != OPTIMIZER and name.startswith(prefix)]
    bare = {name.removeprefix(prefix): parameters[name] for name in own}
    return optimizer, {
        name.removeprefix("log2_"): 2**value if name.startswith("log2_") else value for name, value in bare.items()
    }


def parameters_of(optimizer: str, values: Mapping[str, float], *, joint: bool) -> dict[str, Any]:
    """Return Optuna's parameters of a point of a `space_function`, which is `joint` over several optimizers."""
    prefix = f"{optimizer}." if joint else ""
    parameters: dict[str, Any] = {OPTIMIZER: optimizer} if joint else {}
    for name, value in values.items():
        batch = name == BATCH_SIZE
        parameters[f"{prefix}log2_{name}" if batch else f"{prefix}{name}"] = int(math.log2(value)) if batch else value
    return parameters


def finished(
    encoding: Encoding, optimizer: str, values: Mapping[str, float], objectives: Sequence[float]
) -> optuna.trial.FrozenTrial:
    """Make an ended trial of Optuna at this point, with the value of each objective."""
    fixed = optuna.trial.FixedTrial(encoding.parameters(optimizer, values))
    encoding.define(fixed)
    return optuna.trial.create_trial(params=fixed.params, distributions=fixed.distributions, values=[*objectives])
