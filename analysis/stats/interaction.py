"""Does quantization change which optimizer is better? Differences of differences against the 32/32 arms."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD
from analysis.stats.comparisons import COLUMNS, alphas, better_first, holm, judged
from analysis.stats.intervals import Numbers, t_intervals
from analysis.stats.retrained import WORKLOAD, Board, boards, pairs_of, stacked

GAINS = "gains"
"""Outcome in place of `better`: the first optimizer gains on the other."""
EFFECTS = [
    *BOARD,
    *("optimizer", "change", "ci_low", "ci_high", "n", "why"),
    *("relative", "relative_low", "relative_high", "relative_n", "relative_p_holm"),
    *("metric", "unit", "sign", "margin"),
]
TESTS = [*BOARD, "optimizers", "pairs", "p", "metric", "unit"]


def interaction(results: "Results | Answers") -> pd.DataFrame:
    """All pairs of optimizers of each quantized board: how much the first gains on the other from quantization.

    `difference` is (first - other) at these bits less (first - other) at 32/32, the larger the better, at least 0, with
    its 95 % interval over the seeds (or repeats) that all four arms have. Columns as of `comparisons`; the outcome is
    gains, equivalent or cannot be told apart. Pairs have no reference optimizer, and one arm that fails does not move
    the others, as it would move their mean. Errors as of `analysis.open`.
    """
    asked = answers(results)
    return interact(asked.frame("retrain_scores"), alphas(asked))


def interact(scores: pd.DataFrame, alpha: Mapping[str, float]) -> pd.DataFrame:
    """As `interaction`, from the rows of `retrain_scores` and the level of each study."""
    tables = []
    for board, names, changes, rounding in _changes(scores):
        if len(names) < 2:
            continue
        first, second = pairs_of(len(names))
        found = t_intervals(changes[:, first] - changes[:, second], rounding=rounding)
        tables.append({**better_first(found, names, first, second, board.unit), **board.columns})
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    pairs = judged(stacked(tables), alpha)[COLUMNS]
    return pairs.assign(outcome=pairs["outcome"].replace("better", GAINS))


def interaction_test(results: "Results | Answers") -> pd.DataFrame:
    """One test for each quantized board, whether quantization changes any difference between two optimizers.

    `p` is the smallest of the board's pairs times their number (Bonferroni, over this board alone). An F test of
    optimizer x bits needs the same spread in all arms, which arms that diverge now and then break: it then finds an
    interaction where there is none in up to 23 of 100 studies, and with the correction of Greenhouse and Geisser it
    misses most that are there. This one keeps its level whatever the spreads (docs/statistics.md has the figures).
    """
    pairs = interaction(results)
    tested = pairs[pairs["p"].notna()]
    if tested.empty:
        return pd.DataFrame(columns=TESTS)
    found = tested.groupby([*BOARD, "metric", "unit"], dropna=False, sort=False).agg(
        pairs=("p", "size"), smallest=("p", "min"), one=("optimizer", set), two=("other", set)
    )
    found["optimizers"] = [len(one | two) for one, two in zip(found["one"], found["two"], strict=True)]
    found["p"] = np.minimum(found["smallest"] * found["pairs"], 1.0)
    return found.reset_index()[TESTS]


def quantization_effects(results: "Results | Answers") -> pd.DataFrame:
    """What quantization does to each optimizer: its score at these bits less that at 32/32, with 95 % intervals.

    `change` is above 0 where the quantized arm is better, also where the metric is minimised. `relative` is the change
    less the mean change over all optimizers of the board that have two seeds at both bit widths (effect coding: no
    optimizer is the reference); it is over the seeds that all of them have. One arm that fails at these bits lowers the
    mean, and so lifts `relative` of all others: whether two optimizers differ is told by `interaction`.
    """
    tables = []
    for board, names, changes, rounding in _changes(answers(results).frame("retrain_scores")):
        found = t_intervals(changes, rounding=rounding)
        relative = t_intervals(_against_mean(changes), rounding=rounding)
        tables.append(
            {
                **board.columns,
                "optimizer": np.array(names, dtype=object),
                **{
                    "change": found.estimate,
                    "ci_low": found.low,
                    "ci_high": found.high,
                    "n": found.n,
                    "why": found.why,
                },
                **{"relative": relative.estimate, "relative_low": relative.low, "relative_high": relative.high},
                **{"relative_n": relative.n, "p": relative.p},
            }
        )
    if not tables:
        return pd.DataFrame(columns=EFFECTS)
    effects = stacked(tables)
    effects["relative_p_holm"] = effects.groupby(WORKLOAD, sort=False)["p"].transform(holm)
    return effects[EFFECTS]


def _changes(scores: pd.DataFrame) -> Iterator[tuple[Board, list[str], Numbers, float]]:
    """Each quantized board, the optimizers that its control has too, their changes and the changes' rounding.

    Changes are (repetitions, optimizers), the larger the better; NaN where one of the two scores is missing.
    """
    made = list(boards(scores))
    controls = {board.key[: len(WORKLOAD)]: board for board in made if board.is_control}
    for board in made:
        control = controls.get(board.key[: len(WORKLOAD)])
        if board.is_control or control is None or board.unit != control.unit:
            continue
        names = [name for name in board.optimizers if name in control.optimizers]
        rows = [row for row in board.repetitions if row in control.repetitions]
        yield (
            board,
            names,
            _picked(board, rows, names) - _picked(control, rows, names),
            board.rounding + control.rounding,
        )


def _picked(board: Board, rows: list[int], names: list[str]) -> Numbers:
    """The board's oriented scores in these repetitions and optimizers."""
    row = [board.repetitions.index(repetition) for repetition in rows]
    column = [board.optimizers.index(name) for name in names]
    picked: Numbers = board.oriented[np.ix_(row, column)]
    return picked


def _against_mean(changes: Numbers) -> Numbers:
    """Changes less their mean over the optimizers with two of them, in the repetitions that all of these have."""
    among = (~np.isnan(changes)).sum(axis=0) >= 2
    mean = changes[:, among].mean(axis=1, keepdims=True) if among.sum() >= 2 else np.full((len(changes), 1), np.nan)
    relative: Numbers = np.where(among, changes - mean, np.nan)
    return relative
