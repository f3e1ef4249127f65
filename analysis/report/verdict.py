"""Verdicts of each study, arranged for the page."""

from typing import Any

from analysis.answers import Answers
from analysis.report.studies import heading
from analysis.stats import verdicts
from analysis.stats.boards import is_worsened
from analysis.stats.verdict import ALL_BOARDS


def verdict(answers: Answers) -> list[dict[str, Any]]:
    """Return for each workload of each study its sentences by board, and the tables and questions behind them.

    `needed` has what it would take to say more, and `badges` whether those of the study stand under it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    said = verdicts(answers)
    several = len({one.method for one in said if one.weight_bits != 32 and one.method}) > 1
    for one in said:
        shown = found.setdefault(
            (one.study_id, one.workload),
            {
                **{"study_id": one.study_id, "title": heading(one.study_id, one.workload), "lines": {}, "needed": {}},
                # Badges stand under the boards of a study, once.
                "badges": one.workload != ALL_BOARDS,
                **{"tables": {}, "questions": {}},
            },
        )
        bits = "any bits" if one.weight_bits is None else f"{one.weight_bits}/{one.activation_bits}"
        label = f"{one.method} {bits}" if several and one.method and one.weight_bits != 32 else bits
        label = f"{bits} {one.method}" if is_worsened(one.method) else label
        shown["lines"].setdefault(label, []).append(one.sentence)
        shown["needed"] |= dict.fromkeys([one.needed] if one.needed else [])
        shown["tables"] |= dict.fromkeys(one.tables)
        shown["questions"] |= dict.fromkeys(one.questions)
    return list(found.values())
