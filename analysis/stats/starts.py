"""Sources of variation behind the intervals: what a seed varied, and which optimizer pretrained the start."""

import json
from collections.abc import Iterator

import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.words import counted, joined
from tune_qat.text.numbers import rate, score

DRAWN = {
    "start": "the start",
    "subset": "the subset of training data",
    "split": "the validation split",
    "design": "the search of each arm",
    "order": "the order of the data",
}
"""Words for what repeats may vary."""


def what_seeds_varied(results: "Results | Answers") -> dict[str, str]:
    """Return sentences on each study, by its `study_id`, from the question `start`.

    Raises the errors of `analysis.open`.
    """
    return {str(row["study_id"]): _sentences(row) for _, row in answers(results).frame("start").iterrows()}


def _sentences(row: pd.Series) -> str:
    if not pd.isna(row["varies_json"]):
        return " ".join(_varied(row))
    said = [_start(row), "Every seed sees the same splits: intervals do not cover other test data."]
    if row["repeats"] > 1:
        said.append("A repeat searches anew, so that intervals over repeats include the variation of the search.")
    else:
        said.append("Nor do they cover what another search would have chosen: that takes repeats.")
    return " ".join(said)


def _varied(row: pd.Series) -> Iterator[str]:
    """Say what a study's repeats draw anew, and what is the same in all of them."""
    varies = json.loads(row["varies_json"])
    drawn = [words for name, words in DRAWN.items() if name in varies]
    same = [words for name, words in DRAWN.items() if name not in varies]
    repeats = counted(int(row["repeats"]), "repeat")
    yield f"Each of {repeats} draws anew, the same for all its arms but the search: {joined(drawn)}."
    if same:
        yield f"The same in all repeats, so that intervals do not cover it: {joined(same)}."
    if not pd.isna(row["starts"]):
        yield f"Starts alternate over repeats: {row['starts']}."
    if not pd.isna(row["subset_overlap"]) and row["subset_overlap"] > 0:
        share = f"{row['subset_overlap']:.0%}"
        yield f"Training subsets of two repeats share up to {share} of their samples: intervals are then too short."
    yield "Test data are the same throughout: intervals do not cover others."


def _start(row: pd.Series) -> str:
    if row["init"] == "scratch":
        return "Every seed starts from random weights of its own: a seed varies these and the order of the data."
    if row["init"] == "path":
        shared = "All arms start from one given checkpoint, whose training is not in the record: "
    elif row["init"] == "weights":
        shared = f"All arms start from given weights ({row['weights']}), whose training is not in the record: "
    elif row["init"] == "pretrain" and not pd.isna(row["pretrained_by"]):
        given = "" if pd.isna(row["weights"]) else f" from given weights ({row['weights']})"
        shared = f"All arms start from one floating-point model, pretrained{given} with {_pretraining(row)}: "
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
        details.append(f"learning rate {rate(row['pretrain_learning_rate'])}")
    if not pd.isna(row["pretrain_val_metric"]):
        details.append(f"{row['metric']} {score(row['pretrain_val_metric'], row['unit'])} on validation data")
    return row["pretrained_by"] + (f" ({', '.join(details)})" if details else "")
