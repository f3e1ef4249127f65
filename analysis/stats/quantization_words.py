"""Sentences on whether quantization changes which optimizer is best."""

from typing import Any

import pandas as pd

from analysis.stats.comparisons import EQUIVALENT
from analysis.stats.interaction import GAINS
from analysis.stats.ranking_words import tested, undominated
from analysis.stats.words import amount, between, joined


def change(bits: str, control: pd.DataFrame, pairs: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Return sentences that compare a quantized board with the 32/32 arms.

    The best optimizer is one of those that no other is significantly better than, except in 1 of 20 studies (alpha). If
    no optimizer is in this group at both bit widths, the best has changed; if it is the same single one, it has not.

    Args:
        bits: the board's bits in words, such as 4/4.
        control: rows of `comparisons` at 32/32.
        pairs: rows of `comparisons` at these bits.
        differences: rows of `interaction` at these bits.
    """
    rows = tested(differences)
    if not rows:
        return untold(bits, _lacking(differences))
    names = sorted({name for row in rows for name in (row.optimizer, row.other)})
    before, after = undominated(names, tested(control)), undominated(names, tested(pairs))
    return f"{_best(bits, before, after)} {_apart(rows)}"


def untold(bits: str, why: str = "") -> str:
    """Return the sentence that it cannot be told, with the reason `why` if it is known."""
    said = f"Whether quantization to {bits} bits changes which optimizer is best cannot be told"
    return f"{said}: {why}." if why else f"{said}."


def _lacking(differences: pd.DataFrame) -> str:
    if differences.empty:
        return "fewer than two optimizers have scores there and at 32/32"
    return "no two seeds are shared" if differences["n"].max() < 2 else "no difference between two of them varies"


def _best(bits: str, before: list[str], after: list[str]) -> str:
    if not set(before) & set(after):
        return (
            f"Quantization to {bits} bits changes which optimizer is best: {joined(before, 'or')} at 32/32, "
            f"{joined(after, 'or')} at {bits}."
        )
    if len(before) == len(after) == 1:
        return f"Quantization to {bits} bits does not change which optimizer is best: {before[0]}."
    return untold(bits)


def _apart(rows: list[Any]) -> str:
    if all(row.outcome == EQUIVALENT for row in rows):
        return f"It changes no difference between two of them by as much as {amount(rows[0].margin, rows[0].unit)}."
    gains = [row for row in rows if row.outcome == GAINS]
    if not gains:
        return "No difference between two of them changes significantly."
    surest = min(gains, key=lambda row: row.p)
    gained = between(surest.difference, surest.ci_low, surest.ci_high, surest.unit, f"on {surest.other}")
    more = f", the surest of {len(gains)} changed differences" if len(gains) > 1 else ""
    return f"It does change their differences: {surest.optimizer} gains {gained}{more}."
