"""Facts at the head of the page: when, what, on which hardware, and how long."""

from typing import Any

import pandas as pd

from analysis.answers import Answers
from analysis.stats.words import counted
from tune_qat.results.views import read_sql
from tune_qat.text.numbers import digits

UNKNOWN = "unknown"
"""Text in the record of an imported study for what the other program did not keep."""


def facts(answers: Answers) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return by study and workload the names of its facts with their values; what is not known is left out."""
    rows = answers.frame(read_sql(__file__, "facts")).to_dict("records")
    return {(row["study_id"], row["workload"]): _of(row) for row in rows}


def _of(row: dict[str, Any]) -> list[tuple[str, str]]:
    found = {
        "date": _date(row["first_started"], row["last_finished"]),
        "task": _task(row),
        "hardware": ", ".join(value for value in (_text(row["devices"]), _text(row["precisions"])) if value),
        "time": _hours(row["device_hours"]),
        "size": _size(row),
    }
    return [(name, value) for name, value in found.items() if value]


def _date(first: Any, last: Any) -> str:
    days = [f"{day.day} {day:%B %Y}" for day in (first, last) if isinstance(day, pd.Timestamp) and not pd.isna(day)]
    return " to ".join(dict.fromkeys(days))


def _task(row: dict[str, Any]) -> str:
    task = _text(row["task"]).replace("_", "-")
    trained = f"{_text(row['model'])} on {_text(row['dataset'])}"
    samples = "" if pd.isna(row["n_train"]) else f"{row['n_train']:,.0f} training samples"
    epochs = "" if pd.isna(row["epochs"]) else counted(int(row["epochs"]), "epoch")
    length = " for ".join(part for part in (samples, epochs) if part)
    return ", ".join(part for part in (f"{task}: {trained}" if task else trained, length) if part)


def _hours(hours: Any) -> str:
    if pd.isna(hours) or not hours:
        return ""
    return f"{digits(60 * hours, 2)} device minutes" if hours < 1 else f"{digits(hours, 2)} device hours"


def _size(row: dict[str, Any]) -> str:
    # One search over all optimizers has no arm of one.
    size = [counted(int(row["optimizers"]), "optimizer")] if row["optimizers"] else []
    size.append(f"{counted(int(row['ended']), 'trial')} ended")
    seeds = [counted(int(row["seeds"]), "seed")] if row["seeds"] else []
    return ", ".join([*size, *seeds, *([] if row["complete"] else ["not finished"])])


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value not in ("", UNKNOWN) else ""
