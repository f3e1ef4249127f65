"""The verdict of each study as the page shows it."""

from typing import Any

from analysis.answers import Answers
from analysis.stats import verdicts


def verdict(answers: Answers) -> list[dict[str, Any]]:
    """For each workload of each study its sentences, board by board."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    said = verdicts(answers)
    several = len({one.method for one in said if one.weight_bits != 32}) > 1
    for one in said:
        lines = found.setdefault((one.study_id, one.workload), [])
        bits = "any bits" if one.weight_bits is None else f"{one.weight_bits}/{one.activation_bits}"
        label = f"{one.method} {bits}" if several and one.weight_bits != 32 else bits
        line = next((line for line in lines if line["label"] == label), None)
        if line is None:
            line = {"label": label, "sentences": [], "tables": {}, "questions": {}}
            lines.append(line)
        line["sentences"].append(one.sentence)
        line["tables"] |= dict.fromkeys(one.tables)
        line["questions"] |= dict.fromkeys(one.questions)
    return [{"study_id": study, "workload": workload, "lines": lines} for (study, workload), lines in found.items()]
