"""Best configurations of a study that has trained none of them again: on validation data, and so optimistic."""

import pandas as pd

from analysis import Answers
from tune_qat.cli.board_text import board_name, metric_of, optimizer_name, plain_score
from tune_qat.results.views import read_sql
from tune_qat.text.numbers import rate
from tune_qat.text.sentences import filled
from tune_qat.text.tables import table_text

BEST = 10
"""Limit of the rows of a board."""


def found_text(asked: Answers, shown: str, *, named: bool) -> str:
    """Return a table for each board of the study that answers show under this name, quantized models first.

    The method is `named` if there are several. Empty where no trial has been completed.
    """
    found = asked.frame(read_sql(__file__, "found"))
    found = found[found["study_id"] == shown]
    boards = found.groupby(["method", "weight_bits", "activation_bits"], sort=False)
    return "\n\n".join(_board(rows, named=named) for _, rows in boards)


def _board(rows: pd.DataFrame, *, named: bool) -> str:
    first = rows.iloc[0]
    trials = int(rows.drop_duplicates("arm_id")["trials"].sum())
    best = rows.head(BEST)
    table = pd.DataFrame(
        {
            "optimizer": [optimizer_name(name) for name in best["optimizer"]],
            "learning rate": [rate(value) for value in best["learning_rate"]],
            "batch": best["batch_size"],
            metric_of(first): [plain_score(value, first["unit"]) for value in best["score"]],
            "trials": best["trials"],
        }
    )
    heading = f"{board_name(first, named=named)}: on validation data, the best of {trials} trials, so optimistic"
    return f"{filled(heading)}\n{table_text(table, count=False)}"
