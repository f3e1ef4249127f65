"""Scores without training beside those of a leaderboard: the floating-point start, and the model calibrated only."""

import pandas as pd

from analysis.answers import Answers
from analysis.stats.boards import BOARD


def with_calibrated(board: pd.DataFrame, asked: Answers) -> pd.DataFrame:
    """Return a leaderboard with the columns `start` and `calibrated`, the means over its rows, where there are some.

    Both are in the metric's unit, on test data; at 32/32, where nothing is calibrated, the board has its start alone.
    Records without the stage `calibrated` have neither column.
    """
    found = asked.frame("calibration")
    if not len(found):
        return board
    is_float = (found["weight_bits"] == 32) & (found["activation_bits"] == 32)
    found = found.assign(calibrated=found["calibrated"].mask(is_float))
    means = found.groupby(BOARD, dropna=False)[["start", "calibrated"]].mean()
    return board.merge(means.reset_index(), on=BOARD, how="left")
