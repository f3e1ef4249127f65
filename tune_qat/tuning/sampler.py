"""Optuna sampler of one arm: its search space, the history it starts from, its proposals and their results."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from tune_qat.config import SEEDS, Range
from tune_qat.study.space import BATCH_SIZE, BITS_INDEX, Dimensions
from tune_qat.tuning.objective import OBJECTIVE

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
        """Start from `history`: (optimizer, values, objective) of the recorded trials.

        The seed depends on the length of the history, so that a resumed study does not propose the same points again.
        """
        from ray.tune.search.optuna import OptunaSearch  # not at the top: what is only planned needs no Ray

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space_function(spaces)
        self._only = next(iter(spaces)) if len(spaces) == 1 else None
        storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=storage, study_name="arm", direction="maximize")
        for optimizer, values, objective in history:
            self.add(optimizer, values, objective)
        self._search = OptunaSearch(
            space=self._space,
            metric=OBJECTIVE,
            mode="max",
            sampler=_sampler(sampler, (seed + 1_000_003 * len(history)) % SEEDS, startup_trials),
            storage=storage,
            study_name="arm",
        )

    def add(self, optimizer: str, values: Mapping[str, float], objective: float) -> None:
        """Add a trial that this sampler did not propose."""
        self._study.add_trial(_finished(self._space, optimizer, values, objective, joint=self._only is None))

    def propose(self, proposal: str) -> tuple[str, dict[str, float]]:
        """Propose an optimizer and values under the name `proposal`."""
        with warnings.catch_warnings():
            # Ray warns of a slow space function, but measures the sampler too, which is slow on a busy machine.
            warnings.filterwarnings("ignore", message="Define-by-run function")
            parameters = self._search.suggest(proposal) or {}
        return _values(parameters, self._only)

    def tell(self, proposal: str, objective: float | None) -> None:
        """Tell the sampler the result of a proposal; None if the trial failed without one."""
        result = None if objective is None else {OBJECTIVE: objective}
        self._search.on_trial_complete(proposal, result, error=objective is None)


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
            elif name == BITS_INDEX:
                trial.suggest_int(f"{prefix}{name}", int(bounds.low), int(bounds.high))
            else:
                trial.suggest_float(f"{prefix}{name}", bounds.low, bounds.high, log=bounds.log)

    return define


def random_points(dimensions: Dimensions, count: int, seed: int) -> list[dict[str, float]]:
    """Draw the first `count` points of a random sequence that the seed fixes: a longer one begins with the same."""
    generator = np.random.default_rng(seed)
    return [{name: _draw(name, bounds, generator) for name, bounds in dimensions.items()} for _ in range(count)]


def _draw(name: str, bounds: Range, generator: np.random.Generator) -> float:
    if name == BATCH_SIZE:
        return 2 ** int(generator.integers(int(math.log2(bounds.low)), int(math.log2(bounds.high)), endpoint=True))
    if name == BITS_INDEX:
        return int(generator.integers(int(bounds.low), int(bounds.high), endpoint=True))
    if bounds.log:
        return float(np.exp(generator.uniform(math.log(bounds.low), math.log(bounds.high))))
    return float(generator.uniform(bounds.low, bounds.high))


def _values(parameters: Mapping[str, Any], only: str | None) -> tuple[str, dict[str, float]]:
    optimizer = only or parameters[OPTIMIZER]
    prefix = "" if only else f"{optimizer}."
    own = [name for name in parameters if name != OPTIMIZER and name.startswith(prefix)]
    bare = {name.removeprefix(prefix): parameters[name] for name in own}
    return optimizer, {
        name.removeprefix("log2_"): 2**value if name.startswith("log2_") else value for name, value in bare.items()
    }


def _finished(
    space: Callable[[Any], None], optimizer: str, values: Mapping[str, float], objective: float, *, joint: bool
) -> optuna.trial.FrozenTrial:
    prefix = f"{optimizer}." if joint else ""
    parameters: dict[str, Any] = {OPTIMIZER: optimizer} if joint else {}
    for name, value in values.items():
        batch = name == BATCH_SIZE
        parameters[f"{prefix}log2_{name}" if batch else f"{prefix}{name}"] = int(math.log2(value)) if batch else value
    fixed = optuna.trial.FixedTrial(parameters)
    space(fixed)
    return optuna.trial.create_trial(params=fixed.params, distributions=fixed.distributions, value=objective)


def _sampler(name: str, seed: int, startup_trials: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup_trials)
