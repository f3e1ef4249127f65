"""Verdicts and badges as the command line gives them: lines for the screen, frames for `query`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tune_qat.text.names import shown
from tune_qat.text.sentences import filled

if TYPE_CHECKING:
    import pandas as pd

    from analysis.answers import Answers

IN_WORDS = {
    "verdicts": "What can be told of each board, in words, of optimizers or of configurations, and what more it takes?",
    "badges": "Which checks does each study pass before a comparison of it is believed, each with a sentence?",
}
"""Questions of `query` that are answered in words by `analysis.stats`, and not by SQL alone."""


def verdict_text(asked: "Answers", study: str) -> str:
    """Return the verdicts of the study that a file is or is a part of as lines, and what it would take to say more."""
    from analysis.parts import shown_as
    from analysis.stats import verdicts
    from analysis.stats.names import naming

    known_as, start = shown_as(asked).get(study, study), asked.frame("start")
    mine = {known_as, *start.loc[start["study_id"] == known_as, "whole"]}
    said = [one for one in verdicts(asked) if one.study_id in mine]
    named = naming(asked)
    lines = [f"{_board(one)}: {named(one.sentence)}" for one in said]
    needed = dict.fromkeys(one.needed for one in said if one.needed)
    return "\n".join(filled(line, indent="  ") for line in [*lines, *needed])


def in_words(results: "list[str] | Answers", question: str) -> "pd.DataFrame":
    """Return the rows of a question of `IN_WORDS`."""
    import pandas as pd

    from analysis.stats import badges, verdicts

    asked: dict[str, Callable[[Any], list[Any]]] = {"verdicts": verdicts, "badges": badges}
    rows = [asdict(one) for one in asked[question](results)]
    return pd.DataFrame([{name: _plain(value) for name, value in row.items()} for row in rows])


def _board(one: Any) -> str:
    from analysis.stats.verdict import ALL_BOARDS

    bits = "any bits" if one.weight_bits is None else f"{one.weight_bits}/{one.activation_bits} bits"
    if one.workload == ALL_BOARDS:
        return f"{ALL_BOARDS}, {bits}"
    return bits if one.method in (None, "none") else f"{bits}, {shown(one.method)}"


def _plain(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
