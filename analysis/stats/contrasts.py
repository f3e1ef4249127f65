"""Contrasts of arms on one board: differences of two optimizers, of their changes, and of who moves the step sizes."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.stats.boards import base
from analysis.stats.comparisons import fixed
from analysis.stats.interaction import changes
from analysis.stats.intervals import Numbers
from analysis.stats.retrained import Board, boards, chosen_pairs

AT_BITS, CHANGE, AGAINST_WORSENED = "at these bits", "against 32/32", "against the worsened 32/32"
STEP_OPTIMIZER, STEP_RATE = "step optimizer", "step rate"
OWN_RATE, BY_ADAM = " + own-rate steps", " + adam steps"
"""Ends of the labels of arms whose quantizers' parameters do not share the optimizer or the rate of the weights."""
ALL = "all"
"""Name in place of an optimizer: the mean over those that have all levels."""


class Contrast(NamedTuple):
    """A contrast on one board: a value for each repetition."""

    board: Board
    kind: str
    optimizer: str
    other: str
    repetitions: list[int]
    values: Numbers
    """In the metric's unit, above 0 where `optimizer` is better, (repetitions,); NaN where one is missing."""
    mixed: bool
    """Whether some run of an arm in it failed or collapsed and others did not."""


def contrasts(scores: pd.DataFrame, reference: Mapping[str, str]) -> Iterator[Contrast]:
    """Yield the contrasts of all boards, from the rows of `retrain_scores` and the reference of each study."""
    for board in boards(scores):
        told = fixed(reference, board)
        yield from _pairs(AT_BITS, board, board.optimizers, board.repetitions, board.oriented, board.mixed, told)
        yield from _levels(STEP_RATE, board, OWN_RATE, "")
        yield from _levels(STEP_OPTIMIZER, board, BY_ADAM, OWN_RATE)
    for kind, worsened in ((CHANGE, False), (AGAINST_WORSENED, True)):
        for found in changes(scores, worsened=worsened):
            told = fixed(reference, found.board)
            yield from _pairs(kind, found.board, found.names, found.repetitions, found.values, found.mixed, told)


def _pairs(
    kind: str,
    board: Board,
    names: list[str],
    repetitions: list[int],
    values: Numbers,
    mixed: npt.NDArray[np.bool_],
    reference: str | None,
) -> Iterator[Contrast]:
    for first, second in zip(*chosen_pairs(names, reference), strict=True):
        difference = values[:, first] - values[:, second]
        humps = bool(mixed[first] or mixed[second])
        yield Contrast(board, kind, names[first], names[second], repetitions, difference, humps)


def _levels(kind: str, board: Board, level: str, against: str) -> Iterator[Contrast]:
    """Yield one level of the steps' optimizer minus another, for each optimizer that has both, and for all together."""
    place = {name: column for column, name in enumerate(board.optimizers)}
    names = [name for name in map(base, board.optimizers) if name + level in place and name + against in place]
    names = list(dict.fromkeys(names))
    columns = [(place[name + level], place[name + against]) for name in names]
    differences = [board.oriented[:, one] - board.oriented[:, other] for one, other in columns]
    humps = [bool(board.mixed[one] or board.mixed[other]) for one, other in columns]
    for name, values, mixed in zip(names, differences, humps, strict=True):
        yield Contrast(board, kind, name + level, name + against, board.repetitions, values, mixed)
    if len(names) > 1:
        mean = np.mean(differences, axis=0)
        yield Contrast(board, kind, ALL + level, ALL + against, board.repetitions, mean, any(humps))
