"""Best learning rates and batch sizes near an edge of their range, as text."""

import shlex

import pandas as pd

import analysis
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.storage.paths import StoragePath
from tune_qat.text.tables import table_text

WORDS = {"learning_rate": "learning rate", "batch_size": "batch size"}


def describe(results: StoragePath, study: str | None = None) -> str:
    """Return a block for each study, or for the named one: its arms, those at an edge first, and how to widen it.

    Raises:
        UsageError: no study has that name.
        TuneQatError: the folder holds no record.
    """
    studies = recorded_studies(results, study)
    edges = analysis.frame(results, "edge_of_range")
    return "\n\n".join(_block(row, edges[edges["study_id"] == row.study_id], results) for row in studies.itertuples())


def recorded_studies(results: StoragePath, name: str | None) -> pd.DataFrame:
    """Return `study_id`, `mode`, `complete`, `origin` and `definition_json` of each study, or of the named one.

    The column `alone` says whether the results hold no other study.
    """
    question = "SELECT study_id, mode, complete, origin, definition_json FROM studies ORDER BY study_id"
    found = analysis.frame(results, question)
    found["alone"] = len(found) == 1
    if name is None:
        return found
    if name not in set(found["study_id"]):
        known = ", ".join(found["study_id"]) or "none"
        hint = did_you_mean(name, found["study_id"])
        raise UsageError(f"{results} holds no study {name!r} (--study).{hint} Recorded: {known}.")
    return found[found["study_id"] == name]


def widen_command(results: StoragePath, study: str, *, alone: bool) -> str:
    """Return the command that writes the wider study file; it names the study unless that is `alone`."""
    named = "" if alone else f" --study {shlex.quote(study)}"
    return f"tune-qat widen {shlex.quote(str(results))}{named} -o wide.toml"


def span(low: float, high: float) -> str:
    return f"{low:g}..{high:g}"


def _block(study: "pd.Series", edges: pd.DataFrame, results: StoragePath) -> str:
    state = "" if study.complete else ", not complete yet"
    title = f"study {study.study_id} ({study.mode} mode{state})"
    if not len(edges) and not pd.isna(study.origin):
        return f"{title}: imported from {study.origin}, which did not record its ranges."
    if not len(edges):
        return f"{title}: no trial has been completed yet, so no best value is known."
    count = int((edges["edge"] != "none").sum())
    if not count:
        return f"{title}: no best value lies near an edge of its range.\n\n{_table(edges, study.mode)}"
    lie = "best value lies near an edge of its range" if count == 1 else "best values lie near an edge of their ranges"
    found = f"{title}: {count} {lie}.\n\n{_table(edges, study.mode)}"
    if not pd.isna(study.origin):
        return found  # its own tool has to widen it
    return f"{found}\n\nwiden    {widen_command(results, study.study_id, alone=study.alone)}"


def _table(edges: pd.DataFrame, mode: str) -> str:
    near = edges["edge"] != "none"
    optimizer = {"optimizer": edges["optimizer"]} if mode == "joint" else {}
    shown = {
        "arm": edges["arm_id"],
        **optimizer,
        "searched": edges["dimension"].map(WORDS),
        "best": [f"{value:.4g}" for value in edges["best"]],
        "range": list(map(span, edges["low"], edges["high"])),
        "near": edges["edge"].where(near, "-"),
        "wide enough": pd.Series(map(span, edges["wide_low"], edges["wide_high"]), index=edges.index).where(near, "-"),
    }
    return table_text(pd.DataFrame(shown), count=False)
