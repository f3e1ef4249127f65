"""Verdicts of each study, arranged for the page."""

from typing import Any

from analysis.answers import Answers
from analysis.stats import verdicts


def verdict(answers: Answers) -> list[dict[str, Any]]:
    """Return for each workload of each study its sentences by board, and the tables and questions behind them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    said = verdicts(answers)
    several = len({one.method for one in said if one.weight_bits != 32}) > 1
    for one in said:
        empty: dict[str, Any] = {"study_id": one.study_id, "workload": one.workload, "lines": {}, "tables": {}}
        shown = found.setdefault((one.study_id, one.workload), {**empty, "questions": {}})
        bits = "any bits" if one.weight_bits is None else f"{one.weight_bits}/{one.activation_bits}"
        label = f"{one.method} {bits}" if several and one.weight_bits != 32 else bits
        shown["lines"].setdefault(label, []).append(one.sentence)
        shown["tables"] |= dict.fromkeys(one.tables)
        shown["questions"] |= dict.fromkeys(one.questions)
    return list(found.values())
