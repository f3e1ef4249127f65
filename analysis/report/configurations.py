"""Configurations that the page can compare side by side: values, scores and learning curves."""

import json
from typing import Any

import pandas as pd

from analysis.answers import Answers
from analysis.figures.boards import labels
from analysis.figures.kept import kept
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.figures.style import metric_title
from analysis.stats.boards import ARM, BOARD
from tune_qat.config.statuses import COMPLETED, DEFAULT, RETRAIN
from tune_qat.text.names import shown

TRIALS = 240
"""Most tuning trials on the page, the best of each arm first; the chosen configurations are added to these."""
LEAST = 2
"""Fewest tuning trials of each arm, however many arms there are."""


def configurations(answers: Answers) -> dict[str, Any]:
    """Return every arm's chosen configuration over its retrain seeds, its default, and its best tuning trials.

    `all` is the list of them by board and place, `shared` the values that they have in common and which are left out of
    `all`, and `best` the numbers in it of the two that a reader compares first.
    """
    chosen, tuned = _chosen(answers), _tuned(answers)
    both = _in_order(pd.concat([chosen, tuned]), answers.frame("leaderboard"))
    if not len(both):
        return {"shared": {}, "all": [], "best": []}
    both["label"] = labels(both)
    if both["study_id"].nunique() == 1 and both["workload"].nunique() == 1:
        both["group"] = both["label"] + " bits"
    else:
        both["group"] = both["label"]
    curves = _curves(answers, list(tuned["trial_key"]))
    medians = {key: rows for key, rows in kept(learning_curve_quartiles, answers).groupby(ARM, dropna=False)}
    found = [_one(row, curves, medians) for row in both.to_dict("records")]
    first = found[0]["values"]
    shared = {name: value for name, value in first.items() if all(one["values"].get(name) == value for one in found)}
    for one in found:
        one["values"] = {name: value for name, value in one["values"].items() if name not in shared}
    return {"shared": shared, "all": found, "best": _best(both)}


def _in_order(rows: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Sort by board, the chosen ones by place before all others, and of these the better ones of an arm first."""
    if not len(rows):
        return rows
    order = board[ARM].assign(at=range(len(board)), board=board.groupby(BOARD, sort=False, dropna=False).ngroup())
    found = rows.merge(order, on=ARM, how="left")
    found = found.assign(tuned=found["stage"] != RETRAIN, worse=-found["sign"] * found["val"].astype(float))
    return found.sort_values(["board", "tuned", "at", "worse"], kind="stable", ignore_index=True)


def _best(rows: pd.DataFrame) -> list[int]:
    """Return the positions of the two best chosen configurations of the first quantized board that has two."""
    full = (rows["weight_bits"] == 32) & (rows["activation_bits"] == 32)
    chosen = rows.assign(full=full)[~rows["tuned"]].sort_values("full", kind="stable")
    two = [list(of.index[:2]) for _, of in chosen.groupby(BOARD, sort=False, dropna=False) if len(of) > 1]
    return two[0] if two else [0, min(1, len(rows) - 1)]


def _chosen(answers: Answers) -> pd.DataFrame:
    board = answers.frame("leaderboard")
    runs = answers.frame("retrain_scores")
    keys = (
        runs.groupby(ARM, dropna=False).agg(trial_key=("trial_key", "first"), val=("val_score", "mean")).reset_index()
    )
    found = board[board["n"] > 0].merge(keys, on=ARM)
    found = found.merge(_params(answers, list(found["trial_key"])), on="trial_key", how="left")
    return found.assign(what="chosen, " + found["n"].astype(str) + " seeds", stage=RETRAIN)


def _params(answers: Answers, keys: list[str]) -> pd.DataFrame:
    # A trial that was taken over is there for each of its studies.
    return answers.frame(
        "SELECT trial_key, any_value(params_json) AS params_json FROM trials "
        f"WHERE trial_key IN ({_listed(keys)}) GROUP BY trial_key"
    )


def _tuned(answers: Answers) -> pd.DataFrame:
    trials = answers.frame("tuning_scores")
    trials = trials[trials["status"] == COMPLETED].dropna(subset=["score"])
    if not len(trials):
        return trials.assign(what="", val=pd.NA)
    objective = trials["sign"] * trials["score"]
    place = objective.groupby([trials[name] for name in ARM], dropna=False).rank(ascending=False, method="first")
    each = max(LEAST, TRIALS // max(1, trials.groupby(ARM, dropna=False).ngroups))
    kept = trials[(place <= each) | (trials["stage"] == DEFAULT)].assign(val=lambda rows: rows["score"])
    place = place[kept.index].astype(int).astype(str)
    return kept.assign(what=kept["stage"] + ", place " + place + " in validation")


def _curves(answers: Answers, keys: list[str]) -> dict[str, list[list[float]]]:
    if not keys:
        return {}
    rows = answers.frame(
        "SELECT DISTINCT trial_key, epoch, val_metric FROM epochs WHERE val_metric IS NOT NULL "
        f"AND trial_key IN ({_listed(keys)}) ORDER BY trial_key, epoch"
    )
    return {str(key): _pairs(of["epoch"], of["val_metric"]) for key, of in rows.groupby("trial_key")}


def _listed(keys: list[str]) -> str:
    return ", ".join("'" + key.replace("'", "''") + "'" for key in keys) or "NULL"


def _pairs(x: pd.Series, y: pd.Series) -> list[list[float]]:
    known = y.notna().to_numpy()
    return [[float(value) for value in x[known]], [round(float(value), 6) for value in y[known]]]


def _one(row: dict[str, Any], curves: dict[str, Any], medians: dict[Any, pd.DataFrame]) -> dict[str, Any]:
    chosen = row["stage"] == RETRAIN
    curve = curves.get(row["trial_key"])
    if chosen:
        rows = medians.get(tuple(row[name] for name in ARM))
        curve = None if rows is None else _pairs(rows["epoch"], rows["median"])
    values: dict[str, Any] = {name: row[name] for name in (*BOARD, "optimizer")}
    values |= {"learning_rate": row["learning_rate"], "batch_size": row["batch_size"]}
    if isinstance(row.get("params_json"), str):
        values |= _flat(json.loads(row["params_json"]))
    values["optimizer"] = shown(row["optimizer"])
    scores = {"validation": row["val"]}
    if chosen:
        scores |= {"test": row["mean"], "95 % from": row["ci_low"], "95 % to": row["ci_high"]}
        scores |= {"seeds": row["n"], "diverged": row["diverged"]}
    return {
        "label": f"{shown(row['optimizer'])}: {row['what']}",
        "group": row["group"],
        "metric": metric_title(row["metric"], row["unit"]),
        "values": {name: _plain(value) for name, value in values.items()},
        "scores": {name: _plain(value) for name, value in scores.items()},
        "trial": row["trial_key"],
        "curve": curve,
    }


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        elif value is not None:
            flat[f"{before}{name}"] = value if not isinstance(value, list) else json.dumps(value)
    return flat


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: None for NaN, a plain number for a numpy one."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    return value.item() if hasattr(value, "item") else value
