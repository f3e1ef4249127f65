"""Scores near a ceiling: what is left to gain, and the share of the quantization loss that training recovers."""

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM, BOARD, BOUNDS, base, compared, in_order

LOSS = 2.0
"""Fewest margins that quantization has to cost for a share of the loss: below, the share divides noise by noise."""
COLUMNS = [
    *ARM,
    *("error", "error_ratio", "calibrated", "tuned", "control", "loss", "recovered", "why", "metric", "unit"),
]
UNKNOWN = "the metric right after calibration is not in the record"
NO_CONTROL = "no 32/32 arm of this optimizer"
SMALL = "quantization costs less than two margins: a share of it would say nothing"


def near_ceiling(results: "Results | Answers") -> pd.DataFrame:
    """Compute each quantized arm's error beside the board's lowest, and its share of the quantization loss recovered.

    `error` is how far its mean on test data is from the best possible score, `error_ratio` that over the lowest error
    of the board: both only where the unit has a best possible score. `loss` is the validation metric of the optimizer's
    32/32 arm (`control`) less the one right after calibration, before the first step (`calibrated`); `recovered` is
    (`tuned` - `calibrated`) / `loss`, `tuned` being the arm's own validation metric: 1 is all of it, above 1 more than
    the control, below 0 worse than before training. Means over retrain trials, in which a failed or collapsed one
    counts as the trivial score. Descriptive: no interval, and `why` says where there is no share. Raises the errors of
    `analysis.open`.
    """
    scores = compared(answers(results).frame("retrain_scores"))
    if not len(scores):
        return pd.DataFrame(columns=COLUMNS)
    keys = [*ARM, "metric", "unit", "sign"]
    arms = scores.groupby(keys, dropna=False, as_index=False).agg(
        mean=("score", "mean"),
        tuned=("val_score", "mean"),
        calibrated=("calibrated", "mean"),
        margin=("margin", "first"),
        control_for=("control_for", "first"),
    )
    floats = (arms["weight_bits"] == 32) & (arms["activation_bits"] == 32)
    same = ["study_id", "mode", "workload", "base"]
    arms["base"] = arms["optimizer"].map(base)
    controls = arms[floats & arms["control_for"].isna()].set_index(same)["tuned"].rename("control")
    table = arms[~floats].join(controls, on=same)
    best = table["unit"].map(lambda unit: BOUNDS.get(unit, (np.nan, np.nan)))
    bound = np.where(table["sign"] > 0, [ends[1] for ends in best], [ends[0] for ends in best])
    table["error"] = table["sign"] * (bound - table["mean"])
    lowest = table.groupby(BOARD, dropna=False)["error"].transform("min")
    table["error_ratio"] = (table["error"] / lowest).where(lowest > 0)
    return in_order(_recovered(table)[COLUMNS], "optimizer")


def _recovered(table: pd.DataFrame) -> pd.DataFrame:
    loss = table["sign"] * (table["control"] - table["calibrated"].astype(float))
    large = loss > LOSS * table["margin"].astype(float).fillna(0)
    gained = table["sign"] * (table["tuned"] - table["calibrated"].astype(float))
    why = np.select(
        [table["calibrated"].isna(), table["control"].isna(), ~large], [UNKNOWN, NO_CONTROL, SMALL], default=""
    )
    return table.assign(loss=loss, recovered=(gained / loss).where(large), why=why)
