"""Contents of the record: the progress of each study, and the data that a block of the page lacks."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.answers import Answers
from tune_qat.results.views import read_sql


@dataclass(frozen=True)
class Scope:
    """Workload of a study, with the numbers of its recorded arms, trials and seeds."""

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
    calibrated_models: int
    costs: bool

    @property
    def where(self) -> dict[str, Any]:
        """Column values that select its rows in a table."""
        return {"study_id": self.study_id, "workload": self.workload}

    @property
    def heading(self) -> str:
        """Heading over what is of this workload."""
        return heading(self.study_id, self.workload)

    def named(self, exhibit: str) -> str:
        """Name one of its exhibits, for files and links."""
        return "-".join([exhibit, *self.where.values()]).replace(", ", "-")


def heading(study_id: str, workload: str) -> str:
    """Return study and workload, which a study in several files may have in its name."""
    return study_id if workload in study_id.split(", ") else f"{study_id}: {workload}"


def scopes(answers: Answers) -> list[Scope]:
    """Return every workload of every study that has arms."""
    return [Scope(**row) for row in answers.frame(read_sql(__file__, "scopes")).to_dict("records")]


def studies(answers: Answers) -> pd.DataFrame:
    """Return a row for each study: its progress, and the versions and command that it was run with."""
    return answers.frame(read_sql(__file__, "studies"))


def tuned(scope: Scope) -> str | None:
    """Return why there are no completed tuning trials, or None if there are some."""
    if not scope.tuning_trials:
        return "No default, random or search trial has ended."
    if not scope.completed_trials:
        return "No default, random or search trial was completed: all were stopped, diverged or failed."
    return None


def retrained(scope: Scope) -> str | None:
    """Return why there are no scores on test data, which only the retrain stage has, or None if there are some."""
    if not scope.retrain_trials:
        return "No retrain trial has ended, and test data is used in no other stage."
    return None


def calibrated(scope: Scope) -> str | None:
    """Return why there is nothing of calibration alone, or None if there is something."""
    if not scope.calibrated_models:
        return "No calibrated model has been evaluated on test data (stages.calibrated)."
    return retrained(scope)


def costed(scope: Scope) -> str | None:
    """Return why nothing is known of cost and score together, or None if something is."""
    if not scope.costs:
        return "The record has no costs of its models: tune-qat cost RESULTS works them out."
    return retrained(scope)


def compared(scope: Scope) -> str | None:
    """Return why the effect of quantization cannot be computed, or None if it can."""
    if scope.mode == "joint":
        return "A joint search gives optimizers unequal budgets: it does not compare or rank them."
    if not scope.control:
        return "Without a 32/32 arm, the effect of quantization cannot be computed."
    if not scope.quantized:
        return "No quantized arm beside the 32/32 ones."
    return retrained(scope)


def randomly(scope: Scope) -> str | None:
    """Return why there is no random search without early stopping, or None if there is one."""
    if not scope.random_trials:
        return "No random trial (stages.random): trials of an adaptive sampler do not show what a budget buys."
    return None


def ranked(scope: Scope) -> str | None:
    """Return why optimizers cannot be ranked, or None if they can."""
    if scope.mode == "joint":
        return "A joint search does not rank optimizers."
    if scope.optimizers < 2:
        return "There is one optimizer alone: nothing to rank."
    return retrained(scope)


def notices(known: pd.DataFrame, found: list[Scope]) -> list[str]:
    """Return the notices at the head of the page: studies that are unfinished, imported, joint or synthetic."""
    said = []
    for study in known.to_dict("records"):
        name, planned = study["study_id"], 0 if pd.isna(study["planned"]) else int(study["planned"])
        if not study["complete"]:
            said.append(
                f"Study {name} is not finished: {int(study['ended'])} of {planned} planned trials have ended. "
                "Everything below is from these, and may change."
            )
        if isinstance(study["note"], str):
            said.append(f"Study {name}: {study['note']}")
        if isinstance(study["origin"], str):
            said.append(f"Study {name} was not run by tune_qat but imported from {study['origin']}.")
        if study["mode"] == "joint":
            said.append(
                f"Study {name} is a joint search: one sampler over all optimizers, with unequal budgets. It finds a "
                "good configuration and does not rank optimizers."
            )
    synthetic = sorted({f"{one.study_id}" for one in found if "synthetic" in (one.dataset, *one.workload.split("-"))})
    said += [f"Study {name} is synthetic: its data is made up." for name in synthetic]
    return said
