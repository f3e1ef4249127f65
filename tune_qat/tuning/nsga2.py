"""NSGA-II as a sampler of arms: generations that follow from results alone, and genes that all optimizers share.

Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on Evolutionary
Computation 6, 2002; Optuna's `NSGAIISampler`.
"""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tune_qat.config import Range
from tune_qat.study.space import BATCH_SIZE, Dimensions, is_position
from tune_qat.tuning.encoding import OPTIMIZER

LEVELS = 2**20
"""Steps that a range of numbers is cut into: whole numbers come back from a record as they were."""
SMALLEST = 2
"""Fewest trials of a generation: a child has two parents."""


class Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II whose generations are the completed trials in the order of their numbers, so many at a time.

    Optuna notes a generation with each trial that it proposes, and knows none of a trial that is added from a record:
    a resumed study would begin again with random points.
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the generation of the next trial."""
        return len(_completed(study)) // self._size

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the trials of a generation."""
        return _completed(study)[generation * self._size : (generation + 1) * self._size]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation: the best of those before it; none of the first."""
        return self.select_parent(study, generation) if generation else []

    @property
    def _size(self) -> int:
        assert self.population_size is not None
        return self.population_size


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


class Genes:
    """Parameters of Optuna that optimizers have in common: the place in its own range of each dimension, by name.

    A child may take its bits and its place in the range of learning rates from a parent of another optimizer. Names of
    each optimizer's own would leave the optimizer alone to be crossed, and all else to chance.
    """

    def __init__(self, spaces: Mapping[str, Dimensions]) -> None:
        self._spaces = spaces
        self._only = next(iter(spaces)) if len(spaces) == 1 else None

    def define(self, trial: Any) -> None:
        """Ask a trial of Optuna for its parameters."""
        optimizer = self._only or trial.suggest_categorical(OPTIMIZER, list(self._spaces))
        for name, bounds in self._spaces[optimizer].items():
            trial.suggest_int(name, *_ends(name, bounds))

    def values(self, parameters: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
        """Return the optimizer and its values from Optuna's parameters."""
        optimizer = self._only or parameters[OPTIMIZER]
        space = self._spaces[optimizer]
        return optimizer, {name: _value(name, bounds, parameters[name]) for name, bounds in space.items()}

    def parameters(self, optimizer: str, values: Mapping[str, float]) -> dict[str, Any]:
        """Return Optuna's parameters of a point."""
        chosen = {} if self._only else {OPTIMIZER: optimizer}
        return chosen | {name: _level(name, self._spaces[optimizer][name], value) for name, value in values.items()}


def _ends(name: str, bounds: Range) -> tuple[int, int]:
    if name == BATCH_SIZE:
        return int(math.log2(bounds.low)), int(math.log2(bounds.high))
    if is_position(name):
        return int(bounds.low), int(bounds.high)
    return 0, LEVELS if bounds.high > bounds.low else 0


def _value(name: str, bounds: Range, level: int) -> float:
    if name == BATCH_SIZE:
        return 2**level
    if is_position(name):
        return level
    share = level / LEVELS
    if bounds.log:
        value = bounds.low * (bounds.high / bounds.low) ** share
    else:
        value = bounds.low + (bounds.high - bounds.low) * share
    return min(max(value, bounds.low), bounds.high)


def _level(name: str, bounds: Range, value: float) -> int:
    if name == BATCH_SIZE:
        return int(math.log2(value))
    if is_position(name):
        return int(value)
    if not bounds.high > bounds.low:
        return 0
    if bounds.log:
        share = math.log(value / bounds.low) / math.log(bounds.high / bounds.low)
    else:
        share = (value - bounds.low) / (bounds.high - bounds.low)
    return min(max(round(share * LEVELS), 0), LEVELS)
