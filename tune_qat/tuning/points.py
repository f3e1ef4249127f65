"""Points of an arm's search space that no sampler proposes: at random, any that is left, or in the new part of ranges.

A space is finite where all of its dimensions are batch sizes and bits; others have no end of points.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from tune_qat.config import Range
from tune_qat.study.space import BATCH_SIZE, Dimensions, is_position, points, width

Point = tuple[str, dict[str, float]]
"""An optimizer, and values by dimension."""
Spaces = Mapping[str, Dimensions]
"""Search space of each optimizer of an arm."""
SMALLEST_PART = 0.01
"""Share of a space below which its new part is nothing to search by itself."""


def random_points(dimensions: Dimensions, seed: int | Sequence[int]) -> Iterator[dict[str, float]]:
    """Draw points of a random sequence that the seed fixes, without an end."""
    generator = np.random.default_rng(seed)
    while True:
        yield {name: _draw(name, bounds, generator) for name, bounds in dimensions.items()}


def random_sequence(spaces: Spaces, count: int, seed: int) -> Iterator[Point]:
    """Draw `count` points, of the optimizers in turn, then what else there is: all of a finite space, more of others.

    Points may repeat one another.
    """
    sequences = [(optimizer, random_points(dimensions, seed)) for optimizer, dimensions in spaces.items()]
    for number in range(count):
        drawn = [(optimizer, next(sequence)) for optimizer, sequence in sequences]
        yield drawn[number % len(drawn)]
    yield from others(spaces, [seed, count])


def others(spaces: Spaces, seed: Sequence[int]) -> Iterator[Point]:
    """Return random points of the infinite spaces without an end; if there are none, every point of the finite ones."""
    whole = {optimizer: points(dimensions) for optimizer, dimensions in spaces.items()}
    endless = [optimizer for optimizer, found in whole.items() if found is None]
    if not endless:
        yield from ((optimizer, values) for optimizer, found in whole.items() for values in found or ())
        return
    for optimizer, sequence in itertools.cycle([(one, random_points(spaces[one], seed)) for one in endless]):
        yield optimizer, next(sequence)


class NewPart:
    """The part of an arm's search space that was outside of its earlier ranges."""

    def __init__(self, spaces: Spaces, earlier: Spaces) -> None:
        self._spaces, self._earlier = spaces, earlier
        shares = {optimizer: _new_share(now, earlier.get(optimizer, {})) for optimizer, now in spaces.items()}
        self._grown = [optimizer for optimizer, share in shares.items() if share >= SMALLEST_PART]
        self.share = fmean(shares.values()) if self._grown else 0.0
        """Share of the new part in the space, the mean over optimizers; 0 where nothing has grown."""

    def holds(self, optimizer: str, values: Mapping[str, float]) -> bool:
        """Tell whether the part holds this point."""
        ranges = _comparable(self._spaces.get(optimizer, {}), self._earlier.get(optimizer, {}))
        return not all(earlier.low <= values[name] <= earlier.high for name, (_, earlier) in ranges.items())

    def points(
        self, number: int, seed: int, design: Callable[[str], Iterable[dict[str, float]]] | None = None
    ) -> Iterator[Point]:
        """Return points in the new part, those of the optimizer first whose turn it is; `design` gives its points."""
        turn = number % len(self._grown)
        for optimizer in [*self._grown[turn:], *self._grown[:turn]]:
            dimensions = self._spaces[optimizer]
            drawn: Iterable[dict[str, float]]
            drawn = design(optimizer) if design else points(dimensions) or random_points(dimensions, [seed, number])
            yield from ((optimizer, values) for values in drawn if self.holds(optimizer, values))


def _comparable(now: Dimensions, earlier: Dimensions) -> dict[str, tuple[Range, Range]]:
    """Return today's and the earlier range of dimensions; positions in a list of bits may mean others than before."""
    names = [name for name in now if name in earlier and not is_position(name)]
    return {name: (now[name], earlier[name]) for name in names}


def _new_share(now: Dimensions, earlier: Dimensions) -> float:
    """Return the share of a space that is outside of its earlier ranges."""
    kept = 1.0
    for name, (new, old) in _comparable(now, earlier).items():
        both = width(name, max(new.low, old.low), min(new.high, old.high), log=new.log)
        kept *= max(0.0, both) / width(name, new.low, new.high, log=new.log)
    return 1.0 - kept


def _draw(name: str, bounds: Range, generator: np.random.Generator) -> float:
    if name == BATCH_SIZE:
        return 2 ** int(generator.integers(int(math.log2(bounds.low)), int(math.log2(bounds.high)), endpoint=True))
    if is_position(name):
        return int(generator.integers(int(bounds.low), int(bounds.high), endpoint=True))
    if bounds.log:
        return float(np.exp(generator.uniform(math.log(bounds.low), math.log(bounds.high))))
    return float(generator.uniform(bounds.low, bounds.high))
