"""What is in the record: how far each study is, and what a block of the page would need that is not there."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.answers import Answers
from tune_qat.results.views import read_sql


@dataclass(frozen=True)
class Scope:
    """One workload of one study, and what there is of it."""

    study_id: str
    mode: str
    workload: str
    metric: str
    unit: str
    sign: int
    dataset: str
    arms: int
    optimizers: int
    control: bool
    quantized: bool
    tuning_trials: int
    random_trials: int
    completed_trials: int
    diverged_trials: int
    retrain_trials: int
    seeds: int

    @property
    def where(self) -> dict[str, Any]:
        """What picks its rows out of a table."""
        return {"study_id": self.study_id, "workload": self.workload}


def scopes(answers: Answers) -> list[Scope]:
    """Every workload of every study that has arms."""
    return [Scope(**row) for row in answers.frame(read_sql(__file__, "scopes")).to_dict("records")]


def studies(answers: Answers) -> pd.DataFrame:
    """A row for each study: how far it is, and what it was run with."""
    return answers.frame(read_sql(__file__, "studies"))


def tuned(scope: Scope) -> str | None:
    """What is missing of the tuning stages, or None."""
    if not scope.tuning_trials:
        return "No default, random or search trial has ended."
    if not scope.completed_trials:
        return "No default, random or search trial was completed: all were stopped, diverged or failed."
    return None


def retrained(scope: Scope) -> str | None:
    """What is missing of the only stage that test data is used in, or None."""
    if not scope.retrain_trials:
        return "No retrain trial has ended, and test data is used in no other stage."
    return None


def compared(scope: Scope) -> str | None:
    """What is missing to say what quantization changes, or None."""
    if scope.mode == "joint":
        return "A joint search gives optimizers unequal budgets: it compares no optimizers, and so no rankings."
    if not scope.control:
        return "No 32/32 arm, so there is nothing to tell what quantization changes."
    if not scope.quantized:
        return "No quantized arm beside the 32/32 ones."
    return retrained(scope)


def randomly(scope: Scope) -> str | None:
    """What is missing of random search without early stopping, or None."""
    if not scope.random_trials:
        return "No random trial (stages.random): trials of a sampler that learns do not tell what a budget buys."
    return None


def ranked(scope: Scope) -> str | None:
    """What is missing for ranks, or None."""
    if scope.mode == "joint":
        return "A joint search is no ranking of optimizers."
    if scope.optimizers < 2:
        return "One optimizer: nothing to rank."
    return retrained(scope)


def notices(known: pd.DataFrame, found: list[Scope]) -> list[str]:
    """What a reader must know before anything else."""
    said = []
    for study in known.to_dict("records"):
        name, planned = study["study_id"], 0 if pd.isna(study["planned"]) else int(study["planned"])
        if not study["complete"]:
            said.append(
                f"Study {name} is not finished: {int(study['ended'])} of {planned} planned trials have ended. "
                "Everything below is of what there is, and may change."
            )
        if isinstance(study["note"], str):
            said.append(f"Study {name}: {study['note']}")
        if isinstance(study["origin"], str):
            said.append(f"Study {name} was not run by tune_qat but brought in from {study['origin']}.")
        if study["mode"] == "joint":
            said.append(
                f"Study {name} is a joint search: one sampler over all optimizers, with unequal budgets. It finds a "
                "good configuration and ranks no optimizers."
            )
    synthetic = sorted({f"{one.study_id}" for one in found if "synthetic" in (one.dataset, *one.workload.split("-"))})
    said += [f"Study {name} is synthetic: its data is made up." for name in synthetic]
    return said
