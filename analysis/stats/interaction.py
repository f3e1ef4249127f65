"""Interaction of optimizer and quantization: differences of differences against the 32/32 arms."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD, base
from analysis.stats.comparisons import COLUMNS, alphas, better_first, fixed, holm, judged, level_of, references
from analysis.stats.intervals import TWO_HUMPS, Numbers, t_intervals
from analysis.stats.retrained import WORKLOAD, Board, boards, chosen_pairs, stacked

GAINS = "gains"
"""Outcome instead of `better`: the first optimizer gains on the other."""
FROM_START, FROM_WORSENED = "32/32", "32/32 from a worsened start"
"""Controls in words: all begin from the start itself, or from one worsened to the metric of the quantized start."""
EFFECTS = [
    *BOARD,
    *("optimizer", "change", "ci_low", "ci_high", "n", "why"),
    *("relative", "relative_low", "relative_high", "relative_n", "relative_p_holm"),
    *("metric", "unit", "sign", "margin"),
]
TESTS = [*BOARD, "optimizers", "pairs", "p", "metric", "unit"]


def interaction(results: "Results | Answers", *, worsened: bool = False) -> pd.DataFrame:
    """Compute how much one optimizer gains on another from quantization, for the pairs of each quantized board.

    `difference` is (first - other) at these bits minus (first - other) at 32/32, oriented so that larger is better and
    at least 0, with its 95 % interval over the seeds (or repeats) that all four arms have. Columns as in `comparisons`;
    the outcome is gains, equivalent or cannot be told apart. Pairs are all, or those with the study's reference; they
    need none, and a failed arm does not affect pairs of others, as it would if each were compared with the mean.
    `worsened`: against the floating-point control whose start was worsened to the metric of the quantized start, which
    has as much to recover, instead of the one from the start itself. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    return interact(asked.frame("retrain_scores"), alphas(asked), references(asked), worsened=worsened)


def interactions(results: "Results | Answers") -> pd.DataFrame:
    """Return `interaction` against each control that the study has, which the column `control` names.

    It is `32/32`, or `32/32 from a worsened start`; the correction of p values is over the pairs of one control.
    """
    return _by_control(results, interaction)


def interact(
    scores: pd.DataFrame,
    alpha: Mapping[str, float],
    reference: Mapping[str, str] = MappingProxyType({}),
    *,
    worsened: bool = False,
) -> pd.DataFrame:
    """Compute `interaction` from the rows of `retrain_scores`, and the level and the reference of each study."""
    tables = []
    for board, names, _, values, rounding, mixed in changes(scores, worsened=worsened):
        first, second = chosen_pairs(names, fixed(reference, board))
        if not len(first):
            continue
        found = t_intervals(values[:, first] - values[:, second], rounding=rounding)
        found = found.withheld(mixed[first] | mixed[second], TWO_HUMPS)
        level = {"alpha": level_of(alpha, board)}
        tables.append({**better_first(found, names, first, second, board.unit), **board.columns, **level})
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    pairs = judged(stacked(tables))[COLUMNS]
    return pairs.assign(outcome=pairs["outcome"].replace("better", GAINS))


def _by_control(results: "Results | Answers", table: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Return a table against both controls, that from a worsened start only where there is one."""
    asked = answers(results)
    plain, worsened = table(asked), table(asked, worsened=True)
    plain.insert(len(BOARD), "control", FROM_START)
    worsened.insert(len(BOARD), "control", FROM_WORSENED)
    found = [one for one in (plain, worsened) if len(one)]
    return pd.concat(found, ignore_index=True) if found else plain


def interaction_tests(results: "Results | Answers") -> pd.DataFrame:
    """Return `interaction_test` against each control that the study has, as `interactions` does."""
    return _by_control(results, interaction_test)


def interaction_test(results: "Results | Answers", *, worsened: bool = False) -> pd.DataFrame:
    """Test for each quantized board whether quantization changes any difference between two optimizers.

    `p` is the smallest p value of the board's pairs times their number (Bonferroni, over this board alone). An F test
    of optimizer x bits assumes equal variances, which arms that diverge now and then violate: it then finds an
    interaction where there is none in up to 23 of 100 studies, and with the correction of Greenhouse and Geisser it
    misses most real ones. This test keeps its level for any variances (docs/statistics.md has the figures).
    `worsened` as in `interaction`.
    """
    pairs = interaction(results, worsened=worsened)
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
    """Compute the effect of quantization on each optimizer: its score at these bits minus that at 32/32.

    `change` is above 0 where the quantized arm is better, also where the metric is minimised. `relative` is the change
    minus the mean change over all optimizers of the board with two seeds at both bit widths and without some failed or
    collapsed trials (effect coding: no optimizer is the reference), over the seeds that all of them have. Both have 95
    % intervals. An arm that fails at these bits lowers the mean, and so raises `relative` of all others: use
    `interaction` to compare two optimizers.
    """
    tables = []
    for board, names, _, values, rounding, mixed in changes(answers(results).frame("retrain_scores")):
        found = t_intervals(values, rounding=rounding).withheld(mixed, TWO_HUMPS)
        # An arm on two humps would carry them into the mean, and so into every other.
        relative = t_intervals(_against_mean(np.where(mixed, np.nan, values)), rounding=rounding)
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


class Changes(NamedTuple):
    """Changes of a quantized board's optimizers against its 32/32 board."""

    board: Board
    names: list[str]
    """Optimizers that both boards have; the control of `sgd + adam steps` is `sgd`, as nothing is quantized there."""
    repetitions: list[int]
    values: Numbers
    """Score at these bits minus that at 32/32, (repetitions, names), larger is better; NaN where one is missing."""
    rounding: float
    """Rounding error of a difference of two changes."""
    mixed: npt.NDArray[np.bool_]
    """Whether either arm has some runs that failed or collapsed and others that did not, (names,)."""


def changes(scores: pd.DataFrame, *, worsened: bool = False) -> Iterator[Changes]:
    """Yield the changes of each quantized board that has a 32/32 board of the same study and workload.

    `worsened`: the control is the one whose start was worsened for these bits.
    """
    made = list(boards(scores))
    controls = {(*board.key[: len(WORKLOAD)], board.control_for): board for board in made if board.is_float}
    for board in made:
        control = controls.get((*board.key[: len(WORKLOAD)], f"{board.key[-2]}/{board.key[-1]}" if worsened else None))
        if board.is_float or control is None or board.unit != control.unit:
            continue
        names = [name for name in board.optimizers if base(name) in control.optimizers]
        bases = [base(name) for name in names]
        rows = [row for row in board.repetitions if row in control.repetitions]
        mixed = [_of(board.mixed, board, names), _of(control.mixed, control, bases)]
        values = _picked(board, rows, names) - _picked(control, rows, bases)
        yield Changes(board, names, rows, values, board.rounding + control.rounding, np.logical_or(*mixed))


def _of(values: npt.NDArray[np.bool_], board: Board, names: list[str]) -> npt.NDArray[np.bool_]:
    """Return the values of these optimizers."""
    return values[np.array([board.optimizers.index(name) for name in names], dtype=int)]


def _picked(board: Board, rows: list[int], names: list[str]) -> Numbers:
    """Return the board's oriented scores, (rows, names), of these repetitions and optimizers."""
    row = [board.repetitions.index(repetition) for repetition in rows]
    column = [board.optimizers.index(name) for name in names]
    picked: Numbers = board.oriented[np.ix_(row, column)]
    return picked


def _against_mean(changes: Numbers) -> Numbers:
    """Subtract the mean over the optimizers with two changes or more; NaN for others, and where one of these is NaN."""
    among = (~np.isnan(changes)).sum(axis=0) >= 2
    mean = changes[:, among].mean(axis=1, keepdims=True) if among.sum() >= 2 else np.full((len(changes), 1), np.nan)
    relative: Numbers = np.where(among, changes - mean, np.nan)
    return relative
