"""Beginnings: what chosen configurations gain over the model that they begin with, and whether the control moves."""

from typing import NamedTuple

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM, control_for
from analysis.stats.retrained import FLOAT_BITS, WORKLOAD, Key
from analysis.stats.words import amount
from tune_qat.results.views import read_sql
from tune_qat.text.numbers import score

COLUMNS = [*ARM, "start", "calibrated", "final", "gain", "n", "metric", "unit", "sign", "margin"]


class Control(NamedTuple):
    """The 32/32 arm of a workload that gains most over its start, or over a worsened one, on validation data."""

    optimizer: str
    start: float
    final: float
    gain: float
    """Mean gain over the start, above 0 where it is better."""
    margin: float
    metric: str
    unit: str
    worsened: bool = False
    """Whether the start was worsened to the metric of a calibrated model."""

    @property
    def moves(self) -> bool:
        """Whether the gain is larger than the margin of practical equivalence."""
        return self.gain > self.margin

    @property
    def sentence(self) -> str:
        """Sentence on what the control gains, and whether that is more than the margin."""
        start = "the worsened start" if self.worsened else "its start"
        told = f"{self.optimizer} gains most over {start}, {amount(self.gain, self.unit)}"
        before, after = score(self.start, self.unit), score(self.final, self.unit)
        levels = f"{self.metric} {before} before and {after} after, on validation data"
        beats = "more" if self.moves else "no more"
        return f"At 32/32 {told} ({levels}): {beats} than the margin of {amount(self.margin, self.unit)}."


def beginnings(results: "Results | Answers") -> pd.DataFrame:
    """Compare what each arm's retrain trials end with, on validation data, with what they begin with.

    One row for each optimizer of each board: means over its `n` trials of `start` (the floating-point model that all
    begin from), `calibrated` (right after calibration, before the first step) and `final`; a trial that failed or
    collapsed ends with the trivial score. `gain` is how much better `final` is than `calibrated`, or where that is not
    in the record than `start` in floating point; NaN where neither is. Raises the errors of `analysis.open`.
    """
    return _by_arm(answers(results).frame(read_sql(__file__, "beginnings")))


def controls(results: "Results | Answers") -> dict[Key, Control]:
    """Return the controls of each workload whose start, scores at 32/32 and margin are known.

    Keys are the values of `WORKLOAD` and the bits that a worsened control is for, as 4/4, or None for the control from
    the start itself.
    """
    rows = answers(results).frame(read_sql(__file__, "beginnings"))
    rows = rows[(rows["weight_bits"] == FLOAT_BITS) & (rows["activation_bits"] == FLOAT_BITS)]
    table = _by_arm(rows).dropna(subset=["gain", "margin"])
    found = {}
    for (*workload, method), arms in table.groupby([*WORKLOAD, "method"], sort=False):
        best = arms.loc[arms["gain"].idxmax()]
        start = best["start"] if pd.isna(best["calibrated"]) else best["calibrated"]
        numbers = (float(start), float(best["final"]), float(best["gain"]), float(best["margin"]))
        bits = control_for(method)
        found[*workload, bits] = Control(best["optimizer"], *numbers, best["metric"], best["unit"], bits is not None)
    return found


def _by_arm(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each arm from the rows of its trials."""
    is_float = (rows["weight_bits"] == FLOAT_BITS) & (rows["activation_bits"] == FLOAT_BITS)
    first = rows["calibrated"].fillna(rows["start"].where(is_float & rows["control"].isna()))
    gains = rows.assign(gain=rows["sign"] * (rows["final"] - first))
    made = gains.groupby(ARM, dropna=False, sort=False).agg(
        start=("start", "mean"),
        calibrated=("calibrated", "mean"),
        final=("final", "mean"),
        gain=("gain", "mean"),
        n=("final", "size"),
        **{name: (name, "first") for name in ("metric", "unit", "sign", "margin")},
    )
    return made.reset_index()[COLUMNS]
