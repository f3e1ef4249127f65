"""Writer of an imported study's rows: it replaces an earlier import of the same study, never anything else."""

import json
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from tune_qat.config import TuneQatError, UsageError
from tune_qat.importing.found import FoundStudy
from tune_qat.importing.roles import Taken
from tune_qat.importing.rows import UNKNOWN, Rows
from tune_qat.results.claim import claimed
from tune_qat.results.layout import FILES, check_name, table_folder
from tune_qat.results.provenance import versions
from tune_qat.results.publishable import publishable
from tune_qat.results.reader import check_version, read_rows
from tune_qat.results.schema import SCHEMA_VERSION, TABLES
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath

_FILES = {"epochs": "compact-1", "trials": "compact-1", "arms": "arms", "studies": "study"}
"""One file for each table, as `compact` would leave them; the study last, since its row marks the others complete."""


def check_id(name: str) -> str:
    """Return the name if a study may have it; raise `UsageError` if it cannot become part of a path."""
    try:
        return check_name(name)
    except UsageError as error:
        raise UsageError(f"{error} Give the study another name: --as NAME.") from None


def write(results: StoragePath, study_id: str, study: FoundStudy, taken: Mapping[str, Taken], rows: Rows) -> bool:
    """Write the study, and return whether it replaced an earlier import of the same study.

    Raises:
        UsageError: the results hold another study of this name, or a record of another version.
        TuneQatError: another process is writing this study, or the storage cannot be written.
    """
    root = results.absolute()
    check_version(root)
    found: dict[str, Sequence[Mapping[str, Any]]] = {
        "epochs": rows.epochs,
        "trials": rows.trials,
        "arms": [rows.arm],
        "studies": [_study_row(study, taken, rows)],
    }
    try:
        with claimed(root, study_id, "run"):
            before = _imported_before(root, study_id, study, {row["trial_key"] for row in rows.trials})
            for table, name in _FILES.items():
                path = table_folder(root, table, study_id) / f"{name}.parquet"
                write_rows(path, table, found[table], imported=True)
    except OSError as error:
        raise TuneQatError(f"{root} cannot be written ({error}).") from None
    return before


def _imported_before(root: StoragePath, study_id: str, study: FoundStudy, keys: Set[str]) -> bool:
    """Return whether the same study was imported before; raise `UsageError` if another study has the name.

    The place in the record is not the whole one: of two alike, the trials of the same study have the same `keys`.
    """
    used = [table for table in TABLES if any(table_folder(root, table, study_id).glob(FILES))]
    if not used:
        return False
    known: Sequence[Mapping[str, Any]] = read_rows(root, "studies", study_id)
    source = json.loads(known[0]["definition_json"]).get("imported", {}) if known and known[0]["origin"] else {}
    place = source.get("place", "")
    told = {**source, "place": publishable(place)}
    if source and all(told.get(name) == value for name, value in _source(study).items()):
        same = any(row["trial_key"] in keys for row in read_rows(root, "trials", study_id, columns=()))
        # An earlier version recorded a whole query, and made it a part of the keys.
        if same or ("?" in place and place != publishable(place)):
            return True
    other = f"one imported from {source['tool']}, {publishable(place)}" if source else "one that tune-qat ran"
    raise UsageError(
        f"{root} already holds a study {study_id!r}, {other}, which is not overwritten. "
        "Give this one another name, --as NAME, or use another --results folder."
    )


def _source(study: FoundStudy) -> dict[str, Any]:
    return {"tool": study.tool, "place": publishable(study.shown_in), "study": study.name}


def _study_row(study: FoundStudy, taken: Mapping[str, Taken], rows: Rows) -> dict[str, Any]:
    moments = [row[name] for row in rows.trials for name in ("started_at", "finished_at") if row[name] is not None]
    names = {name: one.fixed if one.fixed is not None else list(one.names) for name, one in taken.items()}
    definition = {"imported": {**_source(study), "version": study.version, "taken": names}}
    return {
        "definition_json": json.dumps(definition),
        "schema_version": SCHEMA_VERSION,
        "prereg_hash": UNKNOWN,
        "mode": "joint",
        "started_at": min(moments, default=datetime.now(UTC)),
        "finished_at": max(moments, default=None) if study.complete else None,
        "tune_qat_version": str(versions()["tune_qat_version"]),
        "complete": study.complete,
        "origin": study.origin,
    }
