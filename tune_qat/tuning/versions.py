"""Versions of a study that ran: each file with its date, and with what had been seen by then."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tune_qat.config import stable_hash
from tune_qat.config.statuses import CALIBRATED, FINAL
from tune_qat.results.publishable import publishable_command
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Read
from tune_qat.study import Study

ELSEWHERE = {"data_dir", "logging"}
"""Keys that no number of a study depends on: where its data is, and who else is told of its curves."""


def file_hash(study: Study) -> str:
    """Hash the whole study file, with what it extends and overrides; not the folder of the data, nor what is logged.

    Keys with their default value are left out, so that the hash stays as it is when a later version knows more keys.
    """
    return stable_hash(study.model_dump(mode="json", exclude_defaults=True, exclude=ELSEWHERE))


def versions_of(study: Study, results: StoragePath, started_at: datetime, read: Read) -> list[dict[str, Any]]:
    """Return the versions of the study that ran, this one last: it is added where a run begins with another file.

    Each has its `file_hash` and `prereg_hash`, `first_run_at`, its `definition`, and the numbers of trials that had
    ended and that had seen test data when it first ran (`trials_ended`, `retrain_ended`). Of what ran before there were
    versions, the date and the numbers are not known.
    """
    (row,) = read(partial(read_rows, results, "studies", study.name)) or ({},)
    known: list[dict[str, Any]] = json.loads(row.get("versions_json") or "null") or _before_versions(row)
    now = file_hash(study)
    if known and known[-1]["file_hash"] == now:
        return known
    trials = read(partial(read_rows, results, "trials", study.name, columns=("status", "stage", "test_metric")))
    return [
        *known,
        {
            "file_hash": now,
            "prereg_hash": study.prereg_hash,
            "first_run_at": started_at.isoformat(),
            "trials_ended": sum(row["status"] in FINAL for row in trials),
            "retrain_ended": sum(row["test_metric"] is not None and row["stage"] != CALIBRATED for row in trials),
            "definition": study.model_dump(mode="json", exclude=ELSEWHERE),
        },
    ]


def typed_command() -> str:
    """Return the command line as it would be typed, without folders, users and hosts: the table may be published."""
    name = Path(sys.argv[0]).name
    return publishable_command(["tune-qat" if name == "__main__.py" else name, *sys.argv[1:]])


def _before_versions(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the version of a record that names none; nothing where there is no record."""
    if not row:
        return []
    try:
        known = file_hash(Study.model_validate_json(row["definition_json"]))
    except ValidationError:  # of a version with other rules
        known = None
    unknown = dict.fromkeys(("first_run_at", "trials_ended", "retrain_ended"))
    definition = json.loads(row["definition_json"])
    return [{"file_hash": known, "prereg_hash": row["prereg_hash"], **unknown, "definition": definition}]
