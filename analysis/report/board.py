"""Leaderboards of the page: a table for each board, bars on one scale, reference scores as rows."""

from typing import Any

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.figures.boards import bits, labels
from analysis.figures.kept import kept
from analysis.report.bars import bar, scale, swatch
from analysis.report.cells import cell
from analysis.report.decimals import decimals_of
from analysis.stats import standings
from analysis.stats.boards import ARM, BOARD, is_worsened
from analysis.stats.calibrated import with_calibrated
from analysis.stats.retrained import by_board
from analysis.stats.scope import scopes
from tune_qat.text.names import shown
from tune_qat.text.numbers import NOTHING, bare_score, digits, rate, unit_name

RANKING = ["letters", "equivalents", "p_best"]
"""Columns of `standings` that rank optimizers."""
REFERENCES = {
    "trivial": "best constant prediction",
    "nearest": "nearest neighbour",
    "bicubic": "bicubic",
    "start": "floating-point start",
    "calibrated": "calibrated only",
}


def standing(results: Results | Answers) -> pd.DataFrame:
    """Return the leaderboard with added statistics: letters, probability to be best, reason for no interval, hours.

    Where a study has several repeats, mean, interval and `n` are over these instead of seeds. Letters, groups of
    equivalents and the probability rank optimizers: they are empty where the design of a study does not allow that.
    """
    asked = answers(results)
    board = asked.frame("leaderboard")
    hours = asked.frame("budget").groupby(ARM, dropna=False)["device_s"].sum().div(3600).rename("device_hours")
    added = ["mean", "ci_low", "ci_high", "n", "counts", "why", *RANKING]
    told = kept(standings, asked)[[*ARM, *added]]
    merged = board.merge(told, on=ARM, how="left", suffixes=("", "_told"))
    for name in ("mean", "ci_low", "ci_high", "n"):
        stood = merged["letters"].notna()
        merged[name] = merged[name].mask(stood, merged[f"{name}_told"])
    merged = merged.drop(columns=[name for name in merged if str(name).endswith("_told")])
    merged.loc[~_ranked(asked, merged), RANKING] = None
    return with_calibrated(merged.merge(hours.reset_index(), on=ARM, how="left"), asked)


def _ranked(asked: Answers, board: pd.DataFrame) -> pd.Series:
    """Return for each row whether the design of its study allows it to rank optimizers."""
    rows = by_board(board)
    allowed = scopes(asked, rows)
    of_optimizers = pd.Series(False, index=board.index)
    for key, found in rows.items():
        of_optimizers[found.index] = allowed[key].of_optimizers
    return of_optimizers


def leaderboards(board: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the template's values of each board of a workload, in the order of the table.

    Args:
        board: rows of `standing`.
    """
    if not len(board):
        return []
    named = board.assign(label=labels(board))
    return [_one(rows) for _, rows in named.groupby(BOARD, sort=False, dropna=False)]


def _one(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    unit, joint = str(first["unit"]), first["mode"] == "joint"
    decimals = decimals_of(rows, unit)
    references = {name: float(first[name]) for name in REFERENCES if name in rows and pd.notna(first[name])}
    on = scale(rows["mean"], rows["ci_low"], rows["ci_high"])
    # A column of hundredths of an hour says little.
    each, time = (60, "min") if rows["device_hours"].max() < 1 else (1, "h")
    lines = []
    for row in rows.to_dict("records"):
        name = str(row["optimizer"])
        drawn = bar(on, row["mean"], row["ci_low"], row["ci_high"], name, references) if on else ""
        lines.append(
            {
                "place": NOTHING if pd.isna(row["place"]) else f"{row['place']:g}",
                "optimizer": shown(name),
                "learning_rate": rate(row["learning_rate"]),
                "batch_size": cell(row["batch_size"]),
                "swatch": swatch(name),
                "mean": bare_score(row["mean"], unit, decimals),
                "bar": drawn,
                "interval": _interval(row, unit, decimals),
                "n": int(row["n"]),
                "failed": cell(row["diverged"] + row["collapsed"]) if row["n"] else NOTHING,
                "letters": "" if pd.isna(row["letters"]) else row["letters"],
                "equivalents": "" if pd.isna(row["equivalents"]) else row["equivalents"],
                "p_best": "" if pd.isna(row["p_best"]) else f"{100 * row['p_best']:.0f} %",
                "device_hours": "" if pd.isna(row["device_hours"]) else digits(each * row["device_hours"], 2),
            }
        )
    return {
        "label": titled(str(first["label"]), first["method"]),
        "bits": bits(first),
        "metric": shown(str(first["metric"])),
        "unit": unit_name(unit),
        "joint": joint,
        "time": time,
        "lines": lines,
        "columns": [name for name in (*RANKING, "device_hours") if any(line[name] for line in lines)],
        "references": [
            {
                "name": REFERENCES[name],
                "score": bare_score(value, unit, decimals),
                "bar": bar(on, float("nan"), 0, 0, "", {name: value}),
            }
            for name, value in references.items()
            if on
        ],
        "low": bare_score(on.low, unit, decimals) if on else "",
        "high": bare_score(on.high, unit, decimals) if on else "",
    }


def titled(label: str, method: object) -> str:
    """Return the title of a board from its label: `4/4 bits`, or `32/32 bits, worsened for 4/4`."""
    return label.replace(" worsened", " bits, worsened") if is_worsened(method) else f"{label} bits"


def _interval(row: dict[str, Any], unit: str, decimals: int) -> str:
    if pd.notna(row["ci_low"]):
        return f"{bare_score(row['ci_low'], unit, decimals)} to {bare_score(row['ci_high'], unit, decimals)}"
    if not row["n"]:
        return "nothing completed"
    if isinstance(row["why"], str) and row["why"]:
        return f"none: {row['why']}"
    return "none: one seed" if row["n"] == 1 else NOTHING
