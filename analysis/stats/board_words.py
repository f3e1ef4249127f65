"""Sentences over all boards of a whole study, in margins: on these boards, and not of optimizers in general."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.stats.contrasts import AGAINST_WORSENED, ALL, AT_BITS, CHANGE, STEP_OPTIMIZER, STEP_RATE
from analysis.stats.detectable_words import of_margins
from analysis.stats.scope import Scope
from analysis.stats.words import counted

BOARDS, STEPS = "boards", "steps"
LISTED = 3
"""Most pairs that are told one by one."""
LEVELS = {
    STEP_OPTIMIZER: "Step sizes moved by Adam in place of the optimizer of the weights, both at a rate of their own",
    STEP_RATE: "Step sizes moved at a rate of their own in place of that of the weights",
}


def over_boards(
    rows: pd.DataFrame, scope: Scope, *, still: Mapping[str, bool], alpha: float, tests: int
) -> Iterator[tuple[str, str]]:
    """Yield subject and sentence for each question that the boards at the same bits answer together.

    Args:
        rows: rows of `pooled_differences` of one whole study at the same bits.
        scope: what the sentences may speak of.
        still: for each kind of change, whether the control of some board cannot move, so that nothing is told
            against it.
        alpha: level of the study.
        tests: number of tests that the level is corrected for.
    """
    bits = f"{rows['weight_bits'].iloc[0]}/{rows['activation_bits'].iloc[0]}"
    told = rows[rows["p"].notna()]
    for kind, of_kind in told.groupby("kind", sort=False):
        several = int(of_kind["boards"].max())
        found = of_margins(list(of_kind.itertuples()), alpha, tests) if scope.of_optimizers else ""
        where = "On this board" if several == 1 else f"On these {several} boards"
        heads = {
            AT_BITS: f"{where} at {bits} bits",
            CHANGE: f"{where}, from 32/32 to {bits} bits",
            AGAINST_WORSENED: f"{where}, from the worsened 32/32 to {bits} bits",
        }
        if kind in LEVELS:
            yield STEPS, f"{LEVELS[kind]}, at {bits} bits: {_steps(of_kind, scope)}{found}."
        elif not still.get(str(kind), False) and (several > 1 or kind == AGAINST_WORSENED):
            yield BOARDS, f"{heads[str(kind)]}: {_pairs(of_kind, scope, gains=kind != AT_BITS)}{found}."


def _pairs(rows: pd.DataFrame, scope: Scope, *, gains: bool) -> str:
    """Return what is told of the pairs: those that differ by a margin's worth, the equivalent, and the others."""
    differ = rows[rows["better"] & ~rows["equivalent"]].sort_values("p", kind="stable")
    link = ("gains", "on") if gains else ("is better by", "than")
    clauses = [
        f"{scope.those([row.optimizer])} {link[0]} {_margins(row)} {link[1]} {scope.those([row.other])}"
        for row in differ.head(LISTED).itertuples()
    ]
    if len(differ) > LISTED:
        clauses.append(f"{counted(len(differ) - LISTED, 'other pair')} differ")
    equal = int(rows["equivalent"].sum())
    if equal:
        clauses.append(f"{counted(equal, 'pair')} {'is' if equal == 1 else 'are'} equivalent, within one margin")
    unknown = len(rows) - len(differ) - equal
    if unknown:
        clauses.append(f"{counted(unknown, 'pair')} cannot be told apart")
    return "; ".join(clauses)


def _steps(rows: pd.DataFrame, scope: Scope) -> str:
    """Return what changing who moves the step sizes does: over all optimizers of the weights, or over each."""
    named = rows["optimizer"].str.partition(" + ")[0]
    chosen = rows[named == ALL] if (named == ALL).any() else rows
    return "; ".join(_level(row, scope) for row in chosen.itertuples())


def _level(row: Any, scope: Scope) -> str:
    name = row.optimizer.partition(" + ")[0]
    subject = "over all that have both" if name == ALL else f"with {scope.name(name)}"
    what = "better" if row.difference > 0 else "worse"
    outcome = f"{_margins(row)} {what}" if row.better else f"not told apart, {_margins(row)} {what}"
    if row.equivalent:
        outcome = f"equivalent, {_margins(row)} {what}"
    return f"{subject} it is {outcome}"


def _margins(row: Any) -> str:
    ends: Sequence[float] = (row.difference, row.ci_low, row.ci_high)
    size, *interval = ends if row.difference > 0 else (-row.difference, -row.ci_high, -row.ci_low)
    least, most = interval
    return f"{size:.2g} margins ({least:.2g} .. {most:.2g})"
