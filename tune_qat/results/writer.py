"""Writer of the record: rows are typed and checked, files are replaced atomically."""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tune_qat.config import EpochResult, LayerResult
from tune_qat.config.statuses import CALIBRATED
from tune_qat.results.layout import check_name, table_folder, trial_files
from tune_qat.results.publishable import RECORDED
from tune_qat.results.schema import KEYS, OF_TRAINING, SCHEMA_VERSION, TABLES, VERSION_KEY, required
from tune_qat.storage.paths import StoragePath, Write, write_whole

_FEW_ROWS: Mapping[str, Any] = {"compression": "snappy", "use_dictionary": False, "write_statistics": False}
"""Parquet options for files of few rows, where the cost of a column counts: half the time to write and read."""
_PLAIN = {name: pa.schema([field.remove_metadata() for field in schema]) for name, schema in TABLES.items()}
"""Schemas without descriptions, which would be most of a small file."""


def write_rows(
    path: StoragePath,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    write: Write = write_whole,
    *,
    imported: bool = False,
) -> None:
    """Replace `path` by a file with these rows: a reader finds the old or the new file, never a part of one.

    In rows of an `imported` study, some columns may be NULL that are required otherwise. Commands, errors and
    definitions are written without secrets, and without names of users, hosts and folders (`RECORDED`).

    Raises:
        ValueError: an unknown column, a required one without a value, a value of another type, or a number that is not
            finite. Such a row is a mistake of this program, and must not enter the record.
    """
    schema = TABLES[table]
    for row in rows:
        unknown = set(row) - set(schema.names)
        if unknown:
            raise ValueError(f"{_where(table, row)}: unknown columns {sorted(unknown)}")
    columns = [_column(table, field, rows, imported) for field in schema]
    write(path, parquet(pa.Table.from_arrays(columns, schema=_PLAIN[table]), **_FEW_ROWS))


def parquet(table: pa.Table, *, compression: str = "zstd", **options: Any) -> bytes:
    """Return a table as a Parquet file of this schema version, with checksums that reveal damage."""
    versioned = table.replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(versioned, sink, compression=compression, write_page_checksum=True, **options)
    return sink.getvalue().to_pybytes()


_OF_EPOCH = [field.name for field in fields(EpochResult) if field.name != "layers"]
_OF_LAYER = [field.name for field in fields(LayerResult)]


class EpochLog:
    """The two files of one attempt at a trial, `epochs` and `layers`, rewritten by the worker after each epoch."""

    def __init__(
        self, results: StoragePath, study_id: str, trial_key: str, write: Write = write_whole, *, earlier: int = 0
    ) -> None:
        """Start the attempt after the highest one in files of the trial's own, and after number `earlier`."""
        self._write = write
        self._key = check_name(trial_key)
        self._folders = {table: table_folder(results, table, study_id) for table in ("epochs", "layers")}
        self.attempt = 1 + max([earlier, *_attempts(self._folders["epochs"], trial_key)])
        self._rows: dict[str, list[dict[str, Any]]] = {"epochs": [], "layers": []}

    def append(self, result: EpochResult) -> None:
        """Add an epoch, and write the files to disk before returning."""
        about = {"trial_key": self._key, "attempt": self.attempt}
        values = {name: getattr(result, name) for name in _OF_EPOCH}
        layers = ({name: getattr(layer, name) for name in _OF_LAYER} for layer in result.layers)
        self._rows["layers"] += [{**about, "epoch": result.epoch, **layer} for layer in layers]
        self._rows["epochs"].append({**about, **values})
        # `epochs` last: an epoch in the record has its layers.
        for table in ("layers", "epochs"):
            if self._rows[table]:
                name = f"{self._key}.{self.attempt}.parquet"
                write_rows(self._folders[table] / name, table, self._rows[table], self._write)

    def forget_earlier(self) -> None:
        """Remove the files of earlier attempts: this one starts from scratch, and may end at an earlier epoch."""
        if self.attempt == 1:
            return  # an attempt without an epoch has left, at most, files that this one replaces
        for folder in self._folders.values():
            for attempt in _attempts(folder, self._key):
                if attempt < self.attempt:
                    (folder / f"{self._key}.{attempt}.parquet").unlink(missing_ok=True)


def _attempts(folder: StoragePath, trial_key: str) -> list[int]:
    pattern = re.compile(re.escape(trial_key) + r"\.(\d+)\.parquet")
    names = (pattern.fullmatch(path.name) for path in trial_files(folder, trial_key))
    return [int(match[1]) for match in names if match]


def _column(table: str, field: pa.Field, rows: Sequence[Mapping[str, Any]], imported: bool) -> pa.Array:
    """Return one column of the table, typed and checked."""
    values = [row.get(field.name) for row in rows]
    if field.name in RECORDED:
        values = [RECORDED[field.name](value) if isinstance(value, str) else value for value in values]
    try:
        if pa.types.is_integer(field.type):
            # Arrow would cut 1.5 down to 1.
            values = [value if value is None else operator.index(value) for value in values]
        column = pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"table {table!r}: column {field.name!r} holds {field.type}: {error}") from error
    of_training = table == "trials" and field.name in OF_TRAINING
    if column.null_count and (of_training or required(field, imported=imported)):
        without = (row for row, value in zip(rows, values, strict=True) if value is None)
        missing = next((row for row in without if not (of_training and row.get("stage") == CALIBRATED)), None)
        if missing is not None:
            raise ValueError(f"{_where(table, missing)}: column {field.name!r} must have a value")
    if pa.types.is_floating(field.type) and not all(value is None or math.isfinite(value) for value in values):
        row = rows[pc.is_finite(column).to_pylist().index(False)]
        raise ValueError(
            f"{_where(table, row)}: column {field.name!r} must be finite or NULL, but got {row[field.name]!r}"
        )
    return column


def _where(table: str, row: Mapping[str, Any]) -> str:
    key = ", ".join(f"{name} {row.get(name)!r}" for name in KEYS[table])
    return f"table {table!r}" + (f", row with {key}" if key else "")
