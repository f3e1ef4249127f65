"""Gain from tuning: the tuned configuration minus the documented default, on validation data."""

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM, compared, in_order
from tune_qat.config.statuses import DEFAULT

_TOLD = ["metric", "unit"]


def gain_from_tuning(results: Results | Answers) -> pd.DataFrame:
    """Compute tuned minus default on validation data, above 0 where tuning helped.

    There is no interval, since the default is a single trial.

    Columns: those of a board, optimizer, `n` (tuning trials that have a score, the default among them), `default`,
    `tuned` (best of the n), `gain` (tuned - default, never below 0, as the default is one of the n; biased upwards, as
    the best of many), `retrained` (mean over fresh seeds of the tuned configuration), `retrained_n`, `retrained_gain`
    (without this bias), metric, unit. Trials that diverged or failed count as the trivial score. NULL without a default
    trial, or without retrain trials. Repeats of an arm are averaged.
    """
    asked = answers(results)
    return gains(compared(asked.frame("tuning_scores")), compared(asked.frame("retrain_scores")))


def gains(tuning: pd.DataFrame, retrain: pd.DataFrame) -> pd.DataFrame:
    """Compute `gain_from_tuning` from the rows of `tuning_scores` and `retrain_scores`."""
    scored = tuning[tuning["score"].notna()]
    scored = scored.assign(objective=scored["sign"] * scored["score"])
    repeats = scored.groupby([*ARM, "arm_id", "sign", *_TOLD]).agg(n=("score", "size"), tuned=("objective", "max"))
    default = scored[scored["stage"] == DEFAULT].groupby([*ARM, "arm_id"])["objective"].max()
    repeats = repeats.join(default.rename("default")).reset_index()
    table = repeats.groupby([*ARM, "sign", *_TOLD], as_index=False).agg(
        n=("n", "sum"), default=("default", "mean"), tuned=("tuned", "mean")
    )
    fresh = retrain.assign(objective=retrain["sign"] * retrain["val_score"])
    means = fresh.groupby(ARM).agg(retrained=("objective", "mean"), retrained_n=("objective", "size"))
    # pandas cannot join by text where both sides are empty.
    table = table.join(means, on=ARM) if len(table) else table.reindex(columns=[*table, *means])
    table["gain"] = table["tuned"] - table["default"]
    table["retrained_gain"] = table["retrained"] - table["default"]
    for column in ("default", "tuned", "retrained"):
        table[column] *= table["sign"]
    columns = ["n", "default", "tuned", "gain", "retrained", "retrained_n", "retrained_gain", *_TOLD]
    return in_order(table[[*ARM, *columns]], "optimizer")
