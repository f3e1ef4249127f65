"""Columns of the page's tables: what kind of number each holds, and so its unit, its digits and its heading."""

import pandas as pd

from analysis.stats.words import IN_POINTS, unit_of_differences
from tune_qat.text.numbers import unit_name

SCORE, DIFFERENCE, SHARE, RATE, SECONDS, NAME, OTHER = (
    "score",
    "difference",
    "share",
    "rate",
    "seconds",
    "name",
    "other",
)

_KINDS = {
    SCORE: (
        *("mean", "score", "val_score", "best", "smooth", "median", "expected_best", "median_best", "start", "final"),
        *("calibrated", "control", "trained", "tuned", "default", "retrained", "trivial", "nearest", "bicubic"),
        *("val_metric", "val_metric_pre_bn", "test_metric", "train_metric", "stopped_metric", "pretrain_val_metric"),
        *("target", "mean_of_others", "interquartile_mean", "q25", "q75", "early", "peak", "error", "published"),
    ),
    DIFFERENCE: (
        *("difference", "other_difference", "gain", "retrained_gain", "loss", "mean_loss", "near_best", "change"),
        *("cost", "won", "gap", "largest_gap", "margin", "detectable", "detectable_alone", "sd", "tau", "sigma"),
        *("sd_repetitions", "sd_images", "sd_rest", "relative", "relative_low", "relative_high"),
    ),
    SHARE: (
        *(
            "share",
            "probability",
            "p_best",
            "clipped",
            "frozen",
            "oscillating",
            "subset_overlap",
            "recovered",
            "float_share",
        ),
        *("diverged", "failed", "stopped", "importance"),
    ),
    RATE: ("learning_rate", "best_learning_rate", "default_learning_rate", "pretrain_learning_rate"),
    SECONDS: ("device_s", "device_s_taken_over", "wall_s"),
    NAME: ("optimizer", "other", "a", "b", "optimizers", "base_optimizer", "pretrained_by", "reference", "metric"),
}
FACTORED = (SCORE, DIFFERENCE, SHARE)
_OF = {column: kind for kind, columns in _KINDS.items() for column in columns}
_ENDS = ("ci_low", "ci_high")
_HEADINGS = {
    "ci_low": "95 % from",
    "ci_high": "95 % to",
    "device_s": "device time",
    "device_s_taken_over": "device time taken over",
    "device_s_ratio": "device time / mean",
    "wall_s": "time",
    "p_holm": "p (Holm)",
    "p_best": "P(best)",
    "n_test": "test samples",
    "other": "other optimizer",
    "k": "random trials",
    "step_size_ratio": "step size / first",
    "numel": "weights",
}


def kinds(frame: pd.DataFrame) -> list[str]:
    """Return the kind of each column; the ends of an interval have that of the number before them.

    Scores and differences are only told from other numbers where the table has the unit of the metric. A share is a
    number with decimals: a column of the same name may hold counts.
    """
    found: list[str] = []
    for name in frame.columns:
        column = str(name)
        kind = _OF.get(column, OTHER)
        if column.endswith(_ENDS):
            kind = next((one for one in reversed(found) if one != NAME), OTHER)
        elif column == "score" and "ratio" in frame.columns:
            kind = OTHER  # of AlgoPerf, not the metric
        elif column == "rate" and "diverged" in frame.columns:
            kind = SHARE
        measured = kind in (SCORE, DIFFERENCE)
        decimal = frame[name].dtype.kind == "f" or frame[name].isna().all()
        if (measured or kind == SHARE) and not decimal or measured and unit_of(frame) is None:
            kind = OTHER
        found.append(kind)
    return found


def unit_of(frame: pd.DataFrame) -> str | None:
    """Return the unit of the metric, where all rows of a table have the same."""
    units = frame["unit"].unique() if "unit" in frame else []
    return str(units[0]) if len(units) == 1 else None


def heading(column: str, kind: str, unit: str | None) -> str:
    """Return a column's heading for people, with its unit."""
    words = _HEADINGS.get(column, column)
    for end in _ENDS:
        if column.endswith(f"_{end}"):
            words = f"{column.removesuffix(end)}{_HEADINGS[end]}"
    words = words.replace("_", " ").strip()
    of = {
        SCORE: unit_name(unit or ""),
        DIFFERENCE: unit_of_differences(unit or ""),
        SHARE: "%",
        SECONDS: "s",
    }.get(kind, "")
    return f"{words}, {of}" if of else words


def factor(kind: str, unit: str | None) -> float:
    """Return what a column's numbers are multiplied with, for the unit in its heading."""
    if kind == SHARE:
        return 100.0
    return IN_POINTS.get(unit or "", 1.0) if kind in (SCORE, DIFFERENCE) else 1.0
