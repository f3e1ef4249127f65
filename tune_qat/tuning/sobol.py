"""Scrambled Sobol sequences over an arm's search space, by Optuna's QMCSampler.

Of any 2^m points in a row that begin at a multiple of 2^m, each dimension has one in each of 2^m equal parts of its
axis: log learning rate, log2 batch size, position in the list of bits, options on axes of their own (Sobol, 1967). The
scrambling makes each point by itself uniformly distributed (Matousek, Journal of Complexity 14, 1998). A shorter
sequence is the beginning of a longer one.
"""

import itertools
import warnings
from collections.abc import Iterator

import optuna
from optuna.exceptions import ExperimentalWarning

from tune_qat.config import SEEDS, stable_hash
from tune_qat.study.space import Dimensions, points
from tune_qat.tuning.encoding import Branches, finished
from tune_qat.tuning.points import Point, Spaces

ROUNDS = 4
"""Points of a sequence for each point of a finite space, after which the points are listed that it has not reached."""


class SobolDesign:
    """Sequence of each optimizer of an arm; each point is computed once."""

    def __init__(self, spaces: Spaces, seed: int) -> None:
        """Start the sequences, which the seed and the optimizer fix: no two optimizers have the same."""
        self._drawn: dict[str, list[dict[str, float]]] = {optimizer: [] for optimizer in spaces}
        self._more = {optimizer: _sequence(optimizer, space, seed) for optimizer, space in spaces.items()}

    def points(self, optimizer: str) -> Iterator[dict[str, float]]:
        """Return the optimizer's points from the first one on, without an end unless its space has one."""
        drawn, more = self._drawn[optimizer], self._more[optimizer]
        for position in itertools.count():
            if position == len(drawn):
                drawn.extend(itertools.islice(more, 1))
            if position == len(drawn):
                return
            yield drawn[position]

    def sequence(self) -> Iterator[Point]:
        """Return the points of the optimizers in turn; one whose space is finite drops out at its end."""
        streams = {optimizer: self.points(optimizer) for optimizer in self._drawn}
        while streams:
            for optimizer, stream in list(streams.items()):
                values = next(stream, None)
                if values is None:
                    del streams[optimizer]
                else:
                    yield optimizer, values


def _sequence(optimizer: str, dimensions: Dimensions, seed: int) -> Iterator[dict[str, float]]:
    whole = points(dimensions)
    drawn = _sobol_points(optimizer, dimensions, int(stable_hash([seed, optimizer]), 16) % SEEDS)
    yield from drawn if whole is None else itertools.islice(drawn, ROUNDS * len(whole))
    yield from whole or ()


def _sobol_points(optimizer: str, dimensions: Dimensions, seed: int) -> Iterator[dict[str, float]]:
    """Draw the points of one scrambled sequence, without an end."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    # The sampler takes its space from a study's first trial, and draws that one at random: this one is not used.
    lowest = {name: bounds.low for name, bounds in dimensions.items()}
    encoding = Branches({optimizer: dimensions})
    first = finished(encoding, optimizer, lowest, [0.0])
    study.add_trial(first)
    while True:
        yield encoding.values(study.ask(first.distributions).params)[1]
