"""Front of a study with several objectives as text: a line for each point, and what became of it trained again."""

import pandas as pd

from analysis import Answers
from tune_qat.cli.board_text import metric_of, optimizer_name, plain_score
from tune_qat.study import Study
from tune_qat.text.names import shown
from tune_qat.text.numbers import rate
from tune_qat.text.sentences import filled
from tune_qat.text.tables import cell, table_text


def front_of(asked: Answers, name: str) -> pd.DataFrame:
    """Return the points of the study that answers show under this name, rows of the question `front`."""
    found = asked.frame("front")
    return found[found["study_id"] == name]


def traded(study: Study) -> str:
    """Say what is traded in a study with several objectives: the metric against costs."""
    metric = study.judgement.metric
    costs = [shown(name) for name in study.search.objectives or () if name != metric]
    return f"{shown(metric)} against {' and '.join(costs)}"


def front_text(study: Study, points: pd.DataFrame) -> str:
    """Return a table for each arm's front, the best metric first, and which points another one has overtaken."""
    costs = [name for name in study.search.objectives or () if name != study.judgement.metric]
    return "\n\n".join(_front(study, rows, costs) for _, rows in points.groupby("arm_id", sort=False))


def _front(study: Study, rows: pd.DataFrame, costs: list[str]) -> str:
    first = rows.iloc[0]
    unit, metric = str(first["unit"]), metric_of(first)
    trained = bool(rows["n"].gt(0).any())
    table = pd.DataFrame(
        {
            "bits": [f"{row.weight_bits}/{row.activation_bits}" for row in rows.itertuples()],
            **{shown(name): [f"{value:,.0f}" for value in rows[name]] for name in costs},
            "optimizer": [optimizer_name(name) for name in rows["optimizer"]],
            "rate": [rate(value) for value in rows["learning_rate"]],
            "batch": rows["batch_size"],
            "searched": [plain_score(value, unit) for value in rows["searched"]],
            **(_again(rows, unit) if trained else {}),
        }
    )
    said = "searched on validation data, so optimistic"
    if trained:
        said = "searched and again on validation data, mean on test data; again and mean are over fresh seeds"
    heading = f"{first['workload']}, {metric}: {said}"
    lines = [filled(heading), table_text(table, count=False)]
    return "\n".join([*lines, *map(filled, _overtaken(rows)), *map(filled, _left_out(rows, study))])


def _again(rows: pd.DataFrame, unit: str) -> dict[str, list[str]]:
    ends = [
        "-" if row.ci_low != row.ci_low else f"{plain_score(row.ci_low, unit)} .. {plain_score(row.ci_high, unit)}"
        for row in rows.itertuples()
    ]
    return {
        "again": [plain_score(value, unit) for value in rows["again"]],
        "mean": [plain_score(value, unit) for value in rows["mean"]],
        "95 % interval": ends,
        "n": [cell(value) for value in rows["n"]],
    }


def _overtaken(rows: pd.DataFrame) -> list[str]:
    """Name the points that are not on the front any more by what they gave again."""
    lost = rows[rows["holds"].eq(False)]
    names = ", ".join(f"{row.weight_bits}/{row.activation_bits}" for row in lost.itertuples())
    return [f"By fresh seeds another point is no worse in any objective than that of {names}."] if names else []


def _left_out(rows: pd.DataFrame, study: Study) -> list[str]:
    """Say that a front has more points than were trained again."""
    left = int((~rows["chosen"].astype(bool)).sum())
    if not study.stages.retrain or not left or not rows["chosen"].any():
        return []
    which = "1 point of the front is" if left == 1 else f"{left} points of the front are"
    return [f"{which} not trained again (selection.front)."]
