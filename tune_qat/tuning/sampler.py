"""Optuna sampler of one arm: its search space, the history it starts from, its proposals and their results."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.trial import TrialState

from tune_qat.config import SEEDS, stable_hash
from tune_qat.study.space import BATCH_SIZE, Dimensions, is_position

OPTIMIZER = "optimizer"


class ArmSampler:
    """Sampler that proposes configurations of one arm, and is told their results."""

    def __init__(
        self,
        spaces: Mapping[str, Dimensions],
        *,
        sampler: str,
        seed: int,
        startup_trials: int,
        history: Sequence[tuple[str, Mapping[str, float], float]],
    ) -> None:
        """Start from `history`: (optimizer, values, objective) of recorded trials, in the order of their numbers."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space_function(spaces)
        self._only = next(iter(spaces)) if len(spaces) == 1 else None
        self._seeded = partial(_sampler, sampler, seed, startup_trials)
        self._study = optuna.create_study(direction="maximize")
        self._asked: dict[str, optuna.Trial] = {}
        for optimizer, values, objective in history:
            self.add(optimizer, values, objective)

    def add(self, optimizer: str, values: Mapping[str, float], objective: float) -> None:
        """Add a trial that this sampler did not propose."""
        self._study.add_trial(finished(self._space, optimizer, values, objective, joint=self._only is None))

    def propose(self, proposal: str) -> tuple[str, dict[str, float]]:
        """Propose an optimizer and values under the name `proposal`.

        They depend on the seed, the name and the results so far alone: a resumed study proposes what it would have.
        """
        self._study.sampler = self._seeded(proposal)
        trial = self._asked[proposal] = self._study.ask()
        self._space(trial)
        return values_of(trial.params, self._only)

    def tell(self, proposal: str, objective: float | None) -> None:
        """Tell the sampler the result of a proposal; None if there is none to learn from."""
        state = TrialState.FAIL if objective is None else TrialState.COMPLETE
        self._study.tell(self._asked.pop(proposal), objective, state=state)


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


def finished(
    space: Callable[[Any], None], optimizer: str, values: Mapping[str, float], objective: float, *, joint: bool
) -> optuna.trial.FrozenTrial:
    """Make an ended trial of Optuna at this point of a `space_function`, which is `joint` over several optimizers."""
    prefix = f"{optimizer}." if joint else ""
    parameters: dict[str, Any] = {OPTIMIZER: optimizer} if joint else {}
    for name, value in values.items():
        batch = name == BATCH_SIZE
        parameters[f"{prefix}log2_{name}" if batch else f"{prefix}{name}"] = int(math.log2(value)) if batch else value
    fixed = optuna.trial.FixedTrial(parameters)
    space(fixed)
    return optuna.trial.create_trial(params=fixed.params, distributions=fixed.distributions, value=objective)


def _sampler(name: str, seed: int, startup_trials: int, proposal: str) -> optuna.samplers.BaseSampler:
    own = int(stable_hash([seed, proposal]), 16) % SEEDS
    if name == "random":
        return optuna.samplers.RandomSampler(seed=own)
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=startup_trials)
