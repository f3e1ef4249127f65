"""Leaderboards as the page shows them: a table for each board, bars on one scale, reference scores as rows."""

from typing import Any

import pandas as pd

from analysis.figures.boards import bits, labels
from analysis.report.bars import bar, scale, swatch
from analysis.report.cells import NOTHING, cell, number, score, unit_name
from analysis.stats.boards import BOARD

REFERENCES = {"trivial": "best constant prediction", "nearest": "nearest neighbour", "bicubic": "bicubic"}


def leaderboards(board: pd.DataFrame) -> list[dict[str, Any]]:
    """What the template needs of each board of a workload, in the order of the table.

    Args:
        board: rows of the question `leaderboard`, with `letters` and `p_best` where they could be computed.
    """
    if not len(board):
        return []
    named = board.assign(label=labels(board))
    return [_one(rows) for _, rows in named.groupby(BOARD, sort=False, dropna=False)]


def _one(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    unit, joint = str(first["unit"]), first["mode"] == "joint"
    references = {name: float(first[name]) for name in REFERENCES if name in rows and pd.notna(first[name])}
    on = scale(rows["mean"], rows["ci_low"], rows["ci_high"])
    lines = []
    for row in rows.to_dict("records"):
        name = str(row["optimizer"])
        drawn = bar(on, row["mean"], row["ci_low"], row["ci_high"], name, references) if on else ""
        lines.append(
            {
                "place": NOTHING if pd.isna(row["place"]) else f"{row['place']:g}",
                "optimizer": name,
                "swatch": swatch(name),
                "mean": score(row["mean"], unit),
                "bar": drawn,
                "interval": _interval(row, unit),
                "n": int(row["n"]),
                "diverged": cell(row["diverged"]) if row["n"] else NOTHING,
                "letters": row.get("letters") or "",
                "p_best": "" if pd.isna(row.get("p_best")) else f"{100 * row['p_best']:.0f} %",
                "device_hours": "" if pd.isna(row.get("device_hours")) else number(row["device_hours"]),
                "learning_rate": cell(row["learning_rate"]),
                "batch_size": cell(row["batch_size"]),
            }
        )
    return {
        "label": str(first["label"]),
        "bits": bits(first),
        "metric": str(first["metric"]),
        "unit": unit_name(unit),
        "joint": joint,
        "lines": lines,
        "columns": [name for name in ("letters", "p_best", "device_hours") if any(line[name] for line in lines)],
        "references": [
            {
                "name": REFERENCES[name],
                "score": score(value, unit),
                "bar": bar(on, float("nan"), 0, 0, "", {name: value}),
            }
            for name, value in references.items()
            if on
        ],
        "low": score(on.low, unit) if on else "",
        "high": score(on.high, unit) if on else "",
    }


def _interval(row: dict[str, Any], unit: str) -> str:
    if pd.notna(row["ci_low"]):
        return f"{score(row['ci_low'], unit)} .. {score(row['ci_high'], unit)}"
    if not row["n"]:
        return "nothing completed"
    return "one seed: no interval" if row["n"] == 1 else NOTHING
