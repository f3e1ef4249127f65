"""Sources of variation behind the intervals: what a seed varied, and which optimizer pretrained the start."""

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.scope import VARIABLE, Design, designs
from analysis.stats.words import joined


def what_seeds_varied(results: "Results | Answers") -> dict[str, str]:
    """Return sentences on each study, by its `study_id`, from the question `start`.

    Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    known = designs(asked)
    return {
        str(row["study_id"]): _sentences(row, known.get(row["study_id"], Design()))
        for _, row in asked.frame("start").iterrows()
    }


def _sentences(row: pd.Series, design: Design) -> str:
    said = [_start(row), "Every seed sees the same splits: intervals do not cover other test data."]
    if design.varies:
        said[1:] = _repeats(design)
    elif row["repeats"] > 1:
        said.append("A repeat searches anew, so that intervals over repeats include the variation of the search.")
    else:
        said.append("Nor do they cover what another search would have chosen: that takes repeats.")
    return " ".join(said)


def _repeats(design: Design) -> list[str]:
    said = [f"Each of {design.planned} repeats draws anew: {joined(sorted(design.varies))}."]
    same = sorted(VARIABLE - design.varies)
    if same:
        said.append(f"The same in all of them: {joined(same)}.")
    said.append("Test data are the same in all of them: intervals do not cover others.")
    if design.overlap:
        said.append(
            f"Training subsets of two repeats have up to {design.overlap:.0%} of their samples in common: repeats are "
            "less independent than intervals take them to be, which are too short."
        )
    return said


def _start(row: pd.Series) -> str:
    if row["init"] == "scratch":
        return "Every seed starts from random weights of its own: a seed varies these and the order of the data."
    if row["init"] == "path":
        shared = "All arms start from one given checkpoint, whose training is not in the record: "
    elif row["init"] == "pretrain" and not pd.isna(row["pretrained_by"]):
        shared = f"All arms start from one floating-point model, pretrained with {_pretraining(row)}: "
    else:
        return "What trials started from, and so what a seed varied, is not in the record."
    varied = "a seed varies the order of the data and what quantizers are calibrated on, not the initial weights."
    favour = " It may favour optimizers that are like its own." if row["init"] == "pretrain" else ""
    return shared + varied + favour


def _pretraining(row: pd.Series) -> str:
    details = []
    if not pd.isna(row["pretrain_epochs"]):
        details.append(f"{row['pretrain_epochs']:.0f} epochs")
    if not pd.isna(row["pretrain_learning_rate"]):
        details.append(f"learning rate {row['pretrain_learning_rate']:g}")
    if not pd.isna(row["pretrain_val_metric"]):
        details.append(f"{row['metric']} {row['pretrain_val_metric']:.4g} on validation data")
    return row["pretrained_by"] + (f" ({', '.join(details)})" if details else "")
