"""Writes the record: typed, checked and atomic."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tune_qat.config import EpochResult
from tune_qat.results.layout import check_name, table_folder
from tune_qat.results.schema import SCHEMA_VERSION, TABLES, VERSION_KEY


def write_rows(path: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace `path` by a file with these rows: a reader finds the old file or the new one, never half of one.

    Raises:
        ValueError: a column that the table does not have, a required one without a value, or a number that is not
            finite. Such a row is a mistake of this program, and must not enter the record.
    """
    schema = TABLES[table]
    for row in rows:
        _check(row, table, schema)
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    versioned = schema.with_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot keeps readers away from a file that is not whole yet.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        pq.write_table(pa.table(columns, schema=versioned), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class EpochLog:
    """The worker's own files of one attempt at a trial: its `epochs` and `layers`, rewritten with every epoch."""

    def __init__(self, results: Path, study_id: str, trial_key: str) -> None:
        """Takes the attempt after the highest one on disk."""
        self._key = check_name(trial_key)
        self._folders = {table: table_folder(results, table, study_id) for table in ("epochs", "layers")}
        self.attempt = 1 + max(_attempts(self._folders["epochs"], trial_key), default=0)
        self._rows: dict[str, list[dict[str, Any]]] = {"epochs": [], "layers": []}

    def append(self, result: EpochResult) -> None:
        """Add an epoch; when this returns, it is on disk."""
        about = {"trial_key": self._key, "attempt": self.attempt}
        values = asdict(result)
        layers = values.pop("layers")
        self._rows["layers"] += [{**about, "epoch": result.epoch, **layer} for layer in layers]
        self._rows["epochs"].append({**about, **values})
        # `epochs` last: an epoch that is there has its layers.
        for table in ("layers", "epochs"):
            if self._rows[table]:
                name = f"{self._key}.{self.attempt}.parquet"
                write_rows(self._folders[table] / name, table, self._rows[table])


def _attempts(folder: Path, trial_key: str) -> list[int]:
    pattern = re.compile(re.escape(trial_key) + r"\.(\d+)\.parquet")
    names = (pattern.fullmatch(path.name) for path in folder.glob(f"{trial_key}.*.parquet"))
    return [int(match[1]) for match in names if match]


def _check(row: Mapping[str, Any], table: str, schema: pa.Schema) -> None:
    where = f"table {table!r}, row {row.get('trial_key') or row.get('arm_id') or ''}"
    unknown = set(row) - set(schema.names)
    if unknown:
        raise ValueError(f"{where}: unknown columns {sorted(unknown)}")
    for field in schema:
        value = row.get(field.name)
        if value is None and not field.nullable:
            raise ValueError(f"{where}: column {field.name!r} must have a value")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where}: column {field.name!r} must be finite or NULL, but got {value!r}")
