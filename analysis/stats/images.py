"""Differences over repeats and test images together: both are samples of what a claim is about.

A test set of two crops says little of other photographs, however many seeds there are. Where a trial has the metric of
each of its test images, repeats and images are crossed, and the interval holds for other repeats and other images.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import fixed, references
from analysis.stats.intervals import ALL_THE_SAME, LEVEL, TOO_FEW, TWO_HUMPS, Numbers
from analysis.stats.retrained import Board, boards, by_board, chosen_pairs

IMAGES = "SELECT study_id, trial_key, test_images_json FROM whole_trials WHERE test_images_json IS NOT NULL"
COLUMNS = [
    *BOARD,
    *("optimizer", "other", "difference", "ci_low", "ci_high", "df", "p", "repetitions", "images"),
    *("sd_repetitions", "sd_images", "sd_rest", "why", "metric", "unit"),
]


class Crossed(NamedTuple):
    """Mean of a table of repetitions x images, with its interval; NaN where `why` says the reason."""

    difference: float
    ci_low: float = np.nan
    ci_high: float = np.nan
    df: float = np.nan
    p: float = np.nan
    sd_repetitions: float = np.nan
    sd_images: float = np.nan
    sd_rest: float = np.nan
    why: str | None = None


def differences_over_images(results: "Results | Answers") -> pd.DataFrame:
    """Compare the optimizers of each board over repetitions (repeats, or seeds) and single test images, both random.

    For the pairs that `comparisons` has and whose trials have the metrics of single images (at most 200 of them): the
    mean difference, above 0 where `optimizer` is better, with the 95 % interval of `crossed`, the p value of 0 (of this
    pair alone, not corrected), and the standard deviations of its three sources. Images that some trial has no finite
    metric of are left out. No rows where no trial has such metrics.
    """
    asked = answers(results)
    known = asked.frame(IMAGES)
    scores = asked.frame("retrain_scores").merge(known, on=["study_id", "trial_key"]) if len(known) else known
    if not len(scores):
        return pd.DataFrame(columns=COLUMNS)
    reference, runs = references(asked), by_board(scores)
    rows = [row for board in boards(scores) for row in _of_board(board, runs[board.key], fixed(reference, board))]
    return pd.DataFrame(rows, columns=COLUMNS)


def crossed(values: Numbers) -> Crossed:
    """Compute the mean of a table whose rows and columns are both random, with its 95 % interval.

    The variance of the mean is (MS_rows + MS_columns - MS_rest) / (rows x columns), by the mean squares of the two-way
    analysis of variance without replication, with Satterthwaite's degrees of freedom (Biometrics Bulletin 1946). A
    difference below the larger of the first two is taken to be that one, as variances are not negative.

    Args:
        values: (repetitions, images) differences without NaN.
    """
    rows, columns = values.shape
    if min(rows, columns) < 2:
        return Crossed(float(values.mean()), why=TOO_FEW)
    mean = float(values.mean())
    by_row, by_column = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    rest = values - mean - by_row[:, None] - by_column
    degrees = np.array([rows - 1, columns - 1, (rows - 1) * (columns - 1)])
    sums = np.array([columns * (by_row @ by_row), rows * (by_column @ by_column), (rest**2).sum()])
    ms_rows, ms_columns, ms_rest = squares = sums / degrees
    sds = np.sqrt(np.maximum([(ms_rows - ms_rest) / columns, (ms_columns - ms_rest) / rows, ms_rest], 0))
    whole = squares @ [1, 1, -1]
    largest = int(np.argmax(squares[:2]))
    if whole > squares[largest]:
        df = float(whole**2 / (squares**2 / degrees).sum())
    else:
        whole, df = squares[largest], float(degrees[largest])
    if not whole > 0:
        return Crossed(mean, why=ALL_THE_SAME)
    error = float(np.sqrt(whole / (rows * columns)))
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    p = float(2 * stdtr(df, -abs(mean) / error))
    of_rows, of_columns, of_rest = map(float, sds)
    return Crossed(mean, mean - half, mean + half, df, p, of_rows, of_columns, of_rest)


def _of_board(board: Board, runs: pd.DataFrame, reference: str | None) -> Iterator[dict[str, Any]]:
    cubes = _by_image(runs, board)
    for first, second in zip(*chosen_pairs(board.optimizers, reference), strict=True):
        table = board.facts["sign"] * (cubes[first] - cubes[second])
        table = table[~np.isnan(table).all(axis=1)]
        table = table[:, ~np.isnan(table).any(axis=0)]
        if not table.size:
            continue
        if board.mixed[first] or board.mixed[second]:
            found = Crossed(float(table.mean()), why=TWO_HUMPS)
        else:
            found = crossed(table)
        if found.difference < 0:
            first, second = second, first
            found = found._replace(difference=-found.difference, ci_low=-found.ci_high, ci_high=-found.ci_low)
        names = {"optimizer": board.optimizers[first], "other": board.optimizers[second]}
        sizes = {"repetitions": table.shape[0], "images": table.shape[1]}
        yield {**board.columns, **names, **sizes, **found._asdict()}


def _by_image(runs: pd.DataFrame, board: Board) -> Numbers:
    """Return metrics of single images, (optimizers, repetitions, images), means over the seeds of a repetition."""
    lists = [
        np.array([np.nan if value is None else value for value in json.loads(text)])
        for text in runs["test_images_json"]
    ]
    images = min(map(len, lists))
    shape = (len(board.optimizers), len(board.repetitions))
    sums, counts = np.zeros((*shape, images)), np.zeros((*shape, 1))
    for optimizer, repetition, values in zip(runs["optimizer"], runs[board.unit], lists, strict=True):
        place = board.optimizers.index(optimizer), board.repetitions.index(repetition)
        sums[place] += values[:images]
        counts[place] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
