"""Provenance of each study for the page: sentences, facts and the resolved study file."""

import json
from typing import Any

import pandas as pd

from analysis.answers import Answers
from analysis.parts import shown_as
from analysis.report.cells import cell
from analysis.report.studies import studies
from analysis.report.versions import versions
from analysis.stats import what_seeds_varied
from analysis.stats.design_checks import tested
from analysis.stats.words import amount
from tune_qat.results.publishable import publishable
from tune_qat.results.views import read_sql


def made(answers: Answers) -> list[dict[str, Any]]:
    """Return the template's values of each study file."""
    start = answers.frame("start").set_index("study_id")
    hashes = answers.frame(read_sql(__file__, "arms")).set_index("study_id")
    varied, shown = what_seeds_varied(answers), shown_as(answers)
    return [
        _study(
            {**row, "test_data": tested(answers, [name])[1]},
            _row(start, shown.get(name, name)),
            _row(hashes, name),
            varied.get(shown.get(name, name), ""),
        )
        for row in _records(answers)
        for name in [row["study_id"]]
    ]


def _records(answers: Answers) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = studies(answers).to_dict("records")
    return found


def _trials(study: dict[str, Any]) -> str:
    ended = f"{study['ended']} of {cell(study['planned'])} planned have ended"
    return f"{ended}; {replaced(study['replaced'])}" if study["replaced"] else ended


def replaced(trials: int) -> str:
    """Return the clause on recorded trials that no answer counts."""
    which = "another belongs" if trials == 1 else f"{trials} others belong"
    return f"{which} to a version of the study or a configuration that was replaced since"


def _row(frame: pd.DataFrame, study: str) -> dict[str, Any]:
    return dict(frame.loc[study]) if study in frame.index else {}


def _study(study: dict[str, Any], start: dict[str, Any], hashes: dict[str, Any], varied: str) -> dict[str, Any]:
    facts = {
        "state": "complete" if study["complete"] else "not complete",
        "trials": _trials(study),
        "test data": study["test_data"],
        "command": publishable(study["command"]) if isinstance(study["command"], str) else None,
        "run": f"{cell(study['started_at'])} to {cell(study['finished_at'])}",
        "tune_qat": f"{study['tune_qat_version']}, commit {cell(study['git_commit'])}",
        "imported from": study["origin"],
        "mode": study["mode"],
        "sampler and scheduler": f"{cell(hashes.get('sampler'))}, {cell(hashes.get('scheduler'))}",
        "samples (train, validation, test)": ", ".join(
            cell(hashes.get(f"n_{part}")) for part in ("train", "val", "test")
        ),
        "margin of practical equivalence": amount(start["margin"], start["unit"])
        if pd.notna(start.get("margin"))
        else None,
        "alpha": start.get("alpha"),
        "hash of the preregistration": study["prereg_hash"],
        "hash of the study file": study["file_hash"],
        "hash of the ranges": hashes.get("space"),
        "hash of the data": hashes.get("data"),
        "hash of the split": hashes.get("split"),
        "hash of the start": hashes.get("start"),
    }
    return {
        "study_id": study["study_id"],
        "varied": varied,
        "facts": [(name, cell(value)) for name, value in facts.items() if not _unknown(value)],
        "versions": versions(study["versions_json"]),
        "definition": _pretty(study["definition_json"]),
    }


def _unknown(value: Any) -> bool:
    return value is None or (not isinstance(value, str) and pd.isna(value))


def _pretty(definition: Any) -> str:
    try:
        return publishable(json.dumps(json.loads(definition), indent=2, ensure_ascii=False))
    except (TypeError, ValueError):
        return publishable(str(definition))
