"""Optuna sampler of one arm: its search space, the history it starts from, its proposals and their results."""

from collections.abc import Mapping, Sequence
from functools import partial

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tune_qat.config import SEEDS, stable_hash
from tune_qat.study.search_sections import NSGA2
from tune_qat.study.space import Dimensions
from tune_qat.tuning.encoding import Branches, Encoding, finished
from tune_qat.tuning.nsga2 import SMALLEST, Generations, Genes

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
Point = tuple[str, Mapping[str, float], Sequence[float]]
"""Optimizer, values and objectives of a recorded trial."""


class ArmSampler:
    """Sampler that proposes configurations of one arm, and is told their results."""

    def __init__(
        self,
        spaces: Mapping[str, Dimensions],
        *,
        sampler: str,
        seed: int,
        startup_trials: int,
        history: Sequence[Point],
        directions: Sequence[StudyDirection] = (MAXIMIZE,),
    ) -> None:
        """Start from the `history` of recorded trials, in the order of their numbers."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._encoding: Encoding = Genes(spaces) if sampler == NSGA2 else Branches(spaces)
        self._seeded = partial(_sampler, sampler, seed, startup_trials)
        self._study = optuna.create_study(directions=[*directions])
        self._asked: dict[str, optuna.Trial] = {}
        for optimizer, values, objectives in history:
            self.add(optimizer, values, objectives)

    def add(self, optimizer: str, values: Mapping[str, float], objectives: Sequence[float]) -> None:
        """Add a trial that this sampler did not propose."""
        self._study.add_trial(finished(self._encoding, optimizer, values, objectives))

    def propose(self, proposal: str) -> tuple[str, dict[str, float]]:
        """Propose an optimizer and values under the name `proposal`.

        They depend on the seed, the name and the results so far alone: a resumed study proposes what it would have.
        """
        self._study.sampler = self._seeded(proposal)
        trial = self._asked[proposal] = self._study.ask()
        self._encoding.define(trial)
        return self._encoding.values(trial.params)

    def tell(self, proposal: str, objectives: Sequence[float] | None) -> None:
        """Tell the sampler the result of a proposal; None if there is none to learn from."""
        state = TrialState.FAIL if objectives is None else TrialState.COMPLETE
        self._study.tell(self._asked.pop(proposal), objectives, state=state)


def _sampler(name: str, seed: int, startup_trials: int, proposal: str) -> optuna.samplers.BaseSampler:
    own = int(stable_hash([seed, proposal]), 16) % SEEDS
    if name == "random":
        return optuna.samplers.RandomSampler(seed=own)
    if name == NSGA2:
        return Generations(seed=own, population_size=max(SMALLEST, startup_trials))
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=startup_trials)
