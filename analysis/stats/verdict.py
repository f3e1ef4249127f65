"""Verdicts in words, for each board: they are drawn from the intervals, and may say that nothing can be told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.beginnings import Control, controls
from analysis.stats.board_words import over_boards
from analysis.stats.boards import BOARD, control_for
from analysis.stats.collapse import collapses
from analysis.stats.collapse_words import collapse
from analysis.stats.comparisons import ALPHA, alphas, comparisons, references
from analysis.stats.contrasts import AGAINST_WORSENED, CHANGE
from analysis.stats.detectable_words import of_changes, of_pairs
from analysis.stats.fronts import fronts
from analysis.stats.interaction import FROM_START, FROM_WORSENED, interaction
from analysis.stats.kin import Kin, kin
from analysis.stats.pooled import pooled_differences
from analysis.stats.power import detectable_differences
from analysis.stats.quantization_words import change, unmoved, untold, worsened_in_place
from analysis.stats.ranking_words import ranking, tested
from analysis.stats.retrained import FLOAT_BITS, WORKLOAD, Key, by_board
from analysis.stats.scope import Scope, scopes
from analysis.stats.standings import standings
from analysis.stats.words import counted, joined

OPTIMIZERS, QUANTIZATION = "optimizers", "quantization"
OF_WORKLOAD = len(WORKLOAD)
ALL_BOARDS = "all boards"
"""Workload of the verdicts over all boards of a whole study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Sentences on a board, with the tables and questions behind them."""

    study_id: str
    mode: str
    workload: str
    method: str | None
    weight_bits: int | None
    activation_bits: int | None
    subject: str
    """Subject: `optimizers` (which is better), `quantization` (whether it changes which), `boards` (what all boards of
    the whole study tell together, in margins), or `steps` (who moves the quantizers' step sizes)."""
    speaks_of: str
    """Subjects that the design of the study allows: `optimizers`, or the `configurations` that were found."""
    repeats: int
    """Number of repeats of the search behind them."""
    sentence: str
    needed: str
    """Sentence on what it would take to say more."""
    tables: tuple[str, ...]
    """Functions of `analysis.stats` that return the intervals."""
    questions: tuple[str, ...]
    """Bundled questions with the rows behind them."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that verdicts are drawn from, by board."""

    arms: dict[Key, pd.DataFrame]
    """Rows of `budget`: all planned arms, ended or not."""
    standing: dict[Key, pd.DataFrame]
    pairs: dict[Key, pd.DataFrame]
    differences: dict[Key, pd.DataFrame]
    from_worsened: dict[Key, pd.DataFrame]
    """Rows of `interaction` against the control from a worsened start."""
    detectable: dict[Key, pd.DataFrame]
    collapsed: dict[Key, pd.DataFrame]
    hopeless: dict[Key, list[str]]
    """Optimizers that completed no trial that could be trained again."""
    kin: dict[Key, list[Kin]]
    scopes: dict[Key, Scope]
    controls: dict[Key, Control]
    """Floating-point controls, by workload and the bits of a worsened one."""
    alpha: Mapping[str, float]
    reference: Mapping[str, str]
    pooled: pd.DataFrame
    wholes: dict[Key, str]
    """Name of the whole study of each board."""
    fronts: frozenset[str] = frozenset()
    """Studies with several objectives."""


def verdicts(results: "Results | Answers") -> list[Verdict]:
    """Say for each board which is better, and for each quantized one whether quantization changes that.

    What is better, an optimizer or the configuration that was found for it, follows from the design of the study
    (`scope.Scope`). The order is that of `budget`. Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    arms, board = by_board(asked.frame("budget")), asked.frame("leaderboard")
    wholes_of = dict(asked.frame("start")[["study_id", "whole"]].itertuples(index=False))
    return drawn(
        Tables(
            arms=arms,
            standing=by_board(standings(asked)),
            pairs=by_board(comparisons(asked)),
            differences=by_board(interaction(asked)),
            from_worsened=by_board(interaction(asked, worsened=True)),
            detectable=by_board(detectable_differences(asked)),
            collapsed=by_board(collapses(asked)),
            hopeless={key: list(rows["optimizer"].unique()) for key, rows in by_board(board[board["n"] == 0]).items()},
            kin=kin(asked),
            scopes=scopes(asked, arms),
            controls=controls(asked),
            alpha=alphas(asked),
            reference=references(asked),
            pooled=pooled_differences(asked),
            wholes={key: str(wholes_of.get(key[0], key[0])) for key in arms},
            fronts=fronts(asked),
        )
    )


def drawn(tables: Tables) -> list[Verdict]:
    """Draw the `verdicts` from the tables."""
    of_boards = [verdict for key, arms in tables.arms.items() for verdict in _of_board(key, arms, tables)]
    return [*of_boards, *_over_boards(tables)]


def _over_boards(tables: Tables) -> Iterator[Verdict]:
    """Yield what the boards of each whole study tell together, by bits."""
    # The control's own rows have no sentence: what is told against it is a row of the quantized boards.
    pooled = tables.pooled[tables.pooled["control_for"].isna()] if len(tables.pooled) else tables.pooled
    for (whole, weight, activation), rows in pooled.groupby(["whole", "weight_bits", "activation_bits"], sort=False):
        keys = [key for key, name in tables.wholes.items() if name == whole and key[-2:] == (weight, activation)]
        known = [tables.scopes[key] for key in keys if key in tables.standing]
        if not known:
            continue
        scope = min(known, key=lambda one: one.repeats)
        still = {
            kind: any(_still(tables.controls.get((*key[:OF_WORKLOAD], bits))) for key in keys)
            for kind, bits in ((CHANGE, None), (AGAINST_WORSENED, f"{weight}/{activation}"))
        }
        tests = int(tables.pooled.loc[tables.pooled["whole"] == whole, "p"].notna().sum())
        level = tables.alpha.get(whole, ALPHA)
        board = {**dict.fromkeys(BOARD), "study_id": whole, "mode": "comparison", "workload": ALL_BOARDS}
        board |= {"weight_bits": int(weight), "activation_bits": int(activation), "speaks_of": scope.speaks_of}
        board |= {"repeats": scope.repeats, "needed": scope.needed}
        for subject, said in over_boards(rows, scope, still=still, alpha=level, tests=tests):
            yield _verdict(board, subject, said, ("pooled_differences",), ("retrain_scores", "start"))


def _of_board(key: Key, arms: pd.DataFrame, tables: Tables) -> Iterator[Verdict]:
    board: dict[str, Any] = dict(zip(BOARD, key, strict=True))
    scope = tables.scopes[key]
    board |= {"speaks_of": scope.speaks_of, "repeats": scope.repeats, "needed": scope.needed}
    if board["mode"] == "joint":
        several = key[0] in tables.fronts
        found = "the front" if several else "the best configuration"
        said = f"One search went over all optimizers, so this is {found} it found and no ranking of them."
        yield _verdict({**board, "needed": ""}, OPTIMIZERS, said, (), ("front" if several else "leaderboard",))
        return
    standing = tables.standing.get(key)
    lost = tables.hopeless.get(key, [])
    if standing is None:
        yield _verdict(board, OPTIMIZERS, _nothing(arms, lost), (), ("budget", "leaderboard"))
        return
    lost = [name for name in lost if name not in set(standing["optimizer"])]
    said = " ".join(filter(None, [*_on_ranking(key, tables), *_missing(arms, standing, lost)]))
    behind = ("standings", "comparisons", "collapses")
    yield _verdict(board, OPTIMIZERS, said, behind, ("retrain_scores", "budget", "identical_runs"))
    if key[-2:] != (FLOAT_BITS, FLOAT_BITS):
        said = _on_quantization(key, tables)
        yield _verdict(board, QUANTIZATION, said, ("comparisons", "interaction", "beginnings"), ("retrain_scores",))


def _verdict(
    board: dict[str, Any], subject: str, sentence: str, tables: tuple[str, ...], questions: tuple[str, ...]
) -> Verdict:
    return Verdict(**board, subject=subject, sentence=sentence, tables=tables, questions=questions)


def _rows(tables: dict[Key, pd.DataFrame], key: Key) -> pd.DataFrame:
    return tables.get(key, pd.DataFrame(columns=["optimizer", "other", "p", "outcome", "n", "collapsed"]))


def _nothing(arms: pd.DataFrame, lost: list[str]) -> str:
    if len(lost) == arms["optimizer"].nunique():
        return "No arm completed a trial that could be trained again: nothing can be told."
    if arms["planned_retrain"].eq(0).all():
        return "The study plans no retrain trials, the only ones that see test data: nothing can be told."
    return "No retrain trial has ended yet: nothing can be told."


def _on_ranking(key: Key, tables: Tables) -> Iterator[str]:
    """Yield what collapsed, then the ranking, then which of the optimizers are one method."""
    scope, standing = tables.scopes[key], tables.standing[key]
    yield collapse(_rows(tables.collapsed, key))
    found = of_pairs(tables.detectable[key]) if scope.of_optimizers and key in tables.detectable else ""
    reference = tables.reference.get(key[0])
    yield ranking(standing, _rows(tables.pairs, key), scope, reference=reference, found=found)
    yield from (group.sentence for group in tables.kin.get(key, []))


def _missing(arms: pd.DataFrame, standing: pd.DataFrame, lost: list[str]) -> Iterator[str]:
    if lost:
        yield f"{joined(lost)} completed no trial that could be trained again."
    waiting = [name for name in arms["optimizer"].unique() if name not in {*standing["optimizer"], *lost}]
    if waiting:
        yield f"No retrain trial of {joined(waiting)} has ended yet."
    able = arms[~arms["optimizer"].isin(lost)]
    ended, planned = able["ended_retrain"].sum(), able["planned_retrain"].sum()
    if ended < planned:
        yield f"So far, {ended:.0f} of {counted(int(planned), 'retrain trial')} have ended."


def _still(control: Control | None) -> bool:
    return control is not None and not control.moves


def _on_quantization(key: Key, tables: Tables) -> str:
    """Say what quantization changes against the control that can move, which is from a worsened start if need be."""
    bits, scope = f"{key[-2]}/{key[-1]}", tables.scopes[key]
    workload = key[:OF_WORKLOAD]
    plain, worsened = _control_board(workload, None, tables), _control_board(workload, bits, tables)
    if plain is None:
        return untold(bits, scope, "the study has no 32/32 arms")
    if plain not in tables.standing:
        return untold(bits, scope, "no retrain trial of the 32/32 arms has ended yet")
    found, second = tables.controls.get((*workload, None)), tables.controls.get((*workload, bits))
    if found is None or found.moves:
        return _change(key, plain, tables.differences, tables)
    if worsened in tables.standing and second is not None and second.moves:
        said = _change(key, worsened, tables.from_worsened, tables, at=FROM_WORSENED)
        return f"{said} {worsened_in_place(found.sentence, second.sentence)}"
    figures = found.sentence if second is None else f"{found.sentence} {second.sentence}"
    return unmoved(bits, scope, figures)


def _control_board(workload: Key, bits: str | None, tables: Tables) -> Key | None:
    """Return the 32/32 board of a workload: that from the start itself, or that from one worsened for these bits."""
    boards = [key for key in tables.arms if key[:OF_WORKLOAD] == workload and key[-2:] == (FLOAT_BITS, FLOAT_BITS)]
    return next((key for key in boards if control_for(key[OF_WORKLOAD]) == bits), None)


def _change(
    key: Key, control: Key, interactions: dict[Key, pd.DataFrame], tables: Tables, *, at: str = FROM_START
) -> str:
    """Return the sentences on what changes from a control to a quantized board."""
    scope, rows = tables.scopes[key], tested(_rows(interactions, key))
    tests = sum(len(tested(one)) for other, one in interactions.items() if other[:OF_WORKLOAD] == key[:OF_WORKLOAD])
    return change(
        f"{key[-2]}/{key[-1]}",
        _rows(tables.pairs, control),
        _rows(tables.pairs, key),
        _rows(interactions, key),
        scope,
        reference=tables.reference.get(key[0]),
        found=of_changes(rows, tables.alpha.get(key[0], ALPHA), tests) if scope.of_optimizers else "",
        at=at,
    )
