"""Sentences on whether quantization changes what is best, about what the study's design lets them speak of."""

from typing import Any

import pandas as pd

from analysis.stats.comparisons import EQUIVALENT
from analysis.stats.interaction import FROM_START, GAINS
from analysis.stats.ranking_words import tested, undominated
from analysis.stats.scope import Scope
from analysis.stats.words import amount, between


def change(
    bits: str,
    control: pd.DataFrame,
    pairs: pd.DataFrame,
    differences: pd.DataFrame,
    scope: Scope,
    *,
    reference: str | None = None,
    found: str = "",
    at: str = FROM_START,
) -> str:
    """Return sentences that compare a quantized board with the 32/32 arms.

    The best one is among those that no other is significantly better than, except in 1 of 20 studies (alpha). If none
    is in this group at both bit widths, the best has changed; if it is the same single one, it has not.

    Args:
        bits: the board's bits in words, such as 4/4.
        control: rows of `comparisons` of the control.
        pairs: rows of `comparisons` at these bits.
        differences: rows of `interaction` at these bits.
        scope: what the sentences may speak of.
        reference: optimizer that all others are compared with, where the study names one: which is best is not asked.
        found: clause on what changes such a study finds, for the sentence that tells of them.
        at: the control in words.
    """
    rows = tested(differences)
    if not rows:
        return untold(bits, scope, _lacking(differences, at))
    changes = f"{_apart(bits, rows, scope, at)}{found}."
    if reference is not None:
        return f"Against {scope.name(reference)}, from {at} to {bits} bits: {changes[0].lower()}{changes[1:]}"
    names = sorted({name for row in rows for name in (row.optimizer, row.other)})
    before, after = undominated(names, tested(control)), undominated(names, tested(pairs))
    return f"{_best(bits, before, after, scope, at)} {changes}"


def untold(bits: str, scope: Scope, why: str = "") -> str:
    """Return the sentence that it cannot be told, with the reason `why` if it is known."""
    said = f"Whether quantization to {bits} bits changes which {scope.noun} is best cannot be told"
    return f"{said}: {why}." if why else f"{said}."


def unmoved(bits: str, scope: Scope, control: str) -> str:
    """Return the sentences for a control that cannot move, of which `control` is the sentence with the figures."""
    return (
        f"{untold(bits, scope, 'the control cannot move')} {control} Floating point had nothing to recover, so that a "
        f"change against it is the difference at {bits} bits again."
    )


def worsened_in_place(control: str, worsened: str) -> str:
    """Return sentences on why the control is the one from a worsened start, from those on both controls' figures."""
    return (
        f"The control is 32/32 from a start that noise has worsened to the metric of the calibrated model: that from "
        f"the start itself cannot move. {control} {worsened}"
    )


def _lacking(differences: pd.DataFrame, at: str) -> str:
    if differences.empty:
        return f"fewer than two optimizers have scores there and at {at}"
    return "no two seeds are shared" if differences["n"].max() < 2 else "no difference between two of them varies"


def _best(bits: str, before: list[str], after: list[str], scope: Scope, at: str) -> str:
    if not set(before) & set(after):
        return (
            f"Quantization to {bits} bits changes which {scope.noun} is best: {scope.one_of(before)} at {at}, "
            f"{scope.one_of(after)} at {bits}."
        )
    if len(before) == len(after) == 1:
        return f"Quantization to {bits} bits does not change which {scope.noun} is best: {scope.those(before)}."
    return untold(bits, scope)


def _apart(bits: str, rows: list[Any], scope: Scope, at: str) -> str:
    if all(row.outcome == EQUIVALENT for row in rows):
        return f"No difference between two of them changes by as much as {amount(rows[0].margin, rows[0].unit)}"
    gains = [row for row in rows if row.outcome == GAINS]
    if not gains:
        return "No difference between two of them changes significantly"
    surest = min(gains, key=lambda row: row.p)
    other = f"on {scope.those([surest.other])}"
    gained = between(surest.difference, surest.ci_low, surest.ci_high, surest.unit, other)
    more = f", the surest of {len(gains)} changed differences" if len(gains) > 1 else ""
    # Configurations of two searches: what changes between them is not the quantization alone.
    between_searches = f"From those found at {at} to those found at {bits} bits, differences change"
    head = "It does change their differences" if scope.of_optimizers else between_searches
    return f"{head}: {scope.those([surest.optimizer])} gains {gained}{more}"
