"""Optimizers in the order of their places on the leaderboards, which no figure leaves to the alphabet."""

import math
from collections.abc import Iterable
from typing import Any

from analysis.answers import Answers
from analysis.figures.boards import only
from analysis.stats.boards import BOARD


def by_place(asked: Answers, optimizers: Iterable[str], where: dict[str, Any]) -> list[str]:
    """Return optimizers by their mean place on the leaderboards of these rows, those without one last, each once."""
    board = only(asked.frame("leaderboard"), where)
    at = board.groupby(BOARD, sort=False, dropna=False).cumcount().groupby(board["optimizer"]).mean()
    return sorted(set(optimizers), key=lambda one: (at.get(one, math.inf), one))
