"""Sentences with optimizers and metrics as people write them, for a page or a screen."""

from collections.abc import Callable

from analysis.answers import Answers, Results, answers
from tune_qat.text.names import in_words

NAMES = """SELECT optimizer AS name FROM whole_trials UNION SELECT optimizer FROM whole_arms
UNION SELECT metric FROM whole_arms ORDER BY name"""


def naming(results: "Results | Answers") -> Callable[[str], str]:
    """Return a function that writes the record's optimizers and metrics in a sentence as people do.

    The tables of `analysis.stats`, and their sentences, have the names of study files. Raises the errors of
    `analysis.open`.
    """
    names = list(answers(results).frame(NAMES)["name"].dropna())
    return lambda sentence: in_words(sentence, names)
