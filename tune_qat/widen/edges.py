"""Best values of searched dimensions near an edge of their range, as text."""

import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

import analysis
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.results.views import read_sql
from tune_qat.storage.paths import StoragePath
from tune_qat.text.tables import table_text


def words(dimension: str) -> str:
    return dimension.replace("_", " ")


def calling(edges: pd.DataFrame) -> pd.Series:
    """Return which edges call for a wider range: those near a best value that did not fail again with fresh seeds."""
    return (edges["edge"] != "none") & ~edges["failed_again"]


def describe(results: StoragePath, study: str | None = None) -> str:
    """Return a block for each study, or for the named one: its arms, those at an edge first, and how to widen it.

    A study in several files has one block, also where one of its files is named.

    Raises:
        UsageError: no study, file or whole study has that name.
        TuneQatError: the folder holds no record.
    """
    asked = analysis.answers(results)
    studies = recorded_studies(asked)
    studies = studies[studies["shown"].isin(recorded_studies(asked, study)["shown"])]
    edges = asked.frame("edge_of_range")
    blocks = (
        _block(list(files.itertuples()), edges[edges["study_id"] == name], results)
        for name, files in studies.groupby("shown", sort=False)
    )
    return "\n\n".join(blocks)


def recorded_studies(asked: analysis.Answers, name: str | None = None) -> pd.DataFrame:
    """Return `study_id`, `mode`, `complete`, `origin` and `definition_json` of each study file, or of the named ones.

    `name` is that of a file, of the study that it is a part of, or of the whole study. The column `shown` is the name
    of the study in answers, and `alone` says whether the results hold no other file.
    """
    found = asked.frame(read_sql(__file__, "recorded_studies"))
    found = found.assign(alone=len(found) == 1)
    if name is None:
        return found
    for column in ("study_id", "shown", "whole"):
        if name in set(found[column]):
            return found[found[column] == name]
    known = ", ".join(found["study_id"]) or "none"
    hint = did_you_mean(name, [*found["study_id"], *found["whole"]])
    raise UsageError(f"{', '.join(map(str, asked.paths))} holds no study {name!r} (--study).{hint} Recorded: {known}.")


def widen_command(results: StoragePath, study: str, *, alone: bool) -> str:
    """Return the command that writes the wider study file; it names the study unless that is `alone`."""
    named = "" if alone else f" --study {shlex.quote(study)}"
    return f"tune-qat widen {shlex.quote(str(results))}{named} -o wide.toml"


def span(low: float, high: float) -> str:
    return f"{low:g}..{high:g}"


def _block(files: Sequence[Any], edges: pd.DataFrame, results: StoragePath) -> str:
    """Return the block of a study, which lies in one file or several."""
    study = files[0]
    state = "" if all(file.complete for file in files) else ", not complete yet"
    parts = f", of {', '.join(file.study_id for file in files)}" if study.shown != study.study_id else ""
    title = f"study {study.shown} ({study.mode} mode{parts}{state})"
    if not len(edges) and not pd.isna(study.origin):
        return f"{title}: imported from {study.origin}, which did not record its ranges."
    if not len(edges):
        return f"{title}: no trial has been completed yet, so no best value is known."
    count = int(calling(edges).sum())
    lie = "best value lies near an edge of its range" if count <= 1 else "best values lie near an edge of their ranges"
    blocks = [f"{title}: {count or 'no'} {lie}.", _table(edges, study.mode), *reserves(edges)]
    if count and pd.isna(study.origin):  # the tool that an imported study comes from has to widen it
        blocks += [f"widen    {widen_command(results, file.study_id, alone=file.alone)}" for file in files]
    return "\n\n".join(blocks)


def reserves(edges: pd.DataFrame) -> list[str]:
    """Say of how many best values nothing is known beyond, and which near an edge call for no wider range."""
    untried = int(((edges["edge"] == "none") & (edges["untried"] != "none")).sum())
    failed = int(((edges["edge"] != "none") & edges["failed_again"]).sum())
    said = []
    if untried:
        said.append(f"Well beyond {_counted(untried)} inside their ranges no trial has ended: more search trials tell.")
    if failed:
        said.append(f"{_counted(failed)} near an edge failed again with fresh seeds: a wider range is no answer.")
    return said


def _counted(count: int) -> str:
    return "1 best value" if count == 1 else f"{count} best values"


def _table(edges: pd.DataFrame, mode: str) -> str:
    near, wide = edges["edge"] != "none", pd.Series(map(span, edges["wide_low"], edges["wide_high"]), index=edges.index)
    optimizer = {"optimizer": edges["optimizer"]} if mode == "joint" else {}
    if edges.groupby(["arm_id", "optimizer", "dimension"]).size().gt(1).any():  # points of a front
        optimizer["bits"] = edges["weight_bits"].astype(str) + "/" + edges["activation_bits"].astype(str)
    shown = {
        "arm": edges["arm_id"],
        **optimizer,
        "searched": edges["dimension"].map(words),
        "best": [f"{value:.4g}" for value in edges["best"]],
        "range": list(map(span, edges["low"], edges["high"])),
        "untried": edges["untried"].where(edges["untried"] != "none", "-"),
        "near": edges["edge"].where(near, "-"),
        "wide enough": wide.where(calling(edges), "-").mask(near & edges["failed_again"], "failed again"),
    }
    return table_text(pd.DataFrame(shown), count=False)
