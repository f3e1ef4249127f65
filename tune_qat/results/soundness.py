"""Soundness of the files of a record: their version, the types of their columns, and values that must be there."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.regular import IRREGULAR
from tune_qat.config.shown import cut, shown
from tune_qat.results.layout import FILES, record_files
from tune_qat.results.schema import SCHEMA_VERSION, TABLES, VERSION_KEY
from tune_qat.storage.paths import StoragePath

DAMAGED = "It is damaged or was not written by this program; `tune-qat run` sets it aside and runs its trial again."
LISTS = (
    "recipe_hashes_json",
    "varies_json",
    "versions_json",
    "test_images_json",
    "objectives_json",
    "front_config_ids_json",
)
"""Columns of JSON lists; the others whose names end alike are of objects."""
_ONE_FILE = ("studies", "arms")
"""Tables of which a study has one file."""


def check_folder(folder: StoragePath) -> None:
    """Raise `TuneQatError` for a name of a record's file that is none, or for two files where a study has one."""
    if isinstance(folder, Path) and folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if fnmatchcase(entry.name, FILES) and not (entry.is_file(follow_symlinks=False) or _leads(entry)):
                    raise TuneQatError(f"{folder / entry.name} {IRREGULAR}. Move it out of the record.")
    if folder.parent.name in _ONE_FILE:
        files = record_files(folder)
        if len(files) > 1:
            names = ", ".join(cut(path.name) for path in files)
            raise TuneQatError(f"{folder} holds {len(files)} files ({names}), but a study has one. Move the others.")


def check_schema(path: StoragePath, schema: pa.Schema) -> None:
    """Check the version and the columns of a file in the folder of a table.

    Raises:
        UsageError: another schema version.
        TuneQatError: a column of another type, twice, or missing where every row must have a value.
    """
    _check_version(path, schema.metadata)
    table = _table(path)
    if table is None or schema.equals(TABLES[table]):
        return
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise _unsound(path, f"has column {shown(twice[0])} twice")
    for field in TABLES[table]:
        place = schema.get_field_index(field.name)
        # A later column may always be NULL, so that earlier files lack none of these.
        if place < 0 and not field.nullable:
            raise _unsound(path, f"has no column {field.name!r}")
        if place >= 0 and schema.field(place).type != field.type:
            other = schema.field(place).type
            raise _unsound(path, f"holds {cut(str(other))} in column {field.name!r}, which is {field.type}")


def check_count(path: StoragePath, rows: int) -> None:
    """Raise `TuneQatError` unless a file of the table `studies` has one row."""
    if _table(path) == "studies" and rows != 1:
        raise _unsound(path, f"has {rows} rows, but a study has one")


def check_rows(path: StoragePath, rows: pa.Table) -> None:
    """Raise `TuneQatError` for a NULL where there must be a value, or for text that should be JSON and is not."""
    table = _table(path)
    for field in TABLES[table] if table else ():
        if field.name not in rows.column_names:
            continue
        column = rows[field.name]
        if column.null_count and not field.nullable:
            raise _unsound(path, f"has a NULL in column {field.name!r}")
        if field.name.endswith("_json"):
            kind = list if field.name in LISTS else dict
            wrong = [text for text in column.to_pylist() if text is not None and not _is_json(text, kind)]
            if wrong:
                what = "list" if kind is list else "object"
                raise _unsound(path, f"has {shown(wrong[0])} in column {field.name!r}, which is no JSON {what}")


def _leads(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry leads to a regular file."""
    return entry.is_symlink() and os.path.isfile(entry.path)


def _table(path: StoragePath) -> str | None:
    """Return the table that a file belongs to; None outside of a record."""
    name = path.parent.parent.name
    return name if name in TABLES else None


def _check_version(path: StoragePath, metadata: Mapping[bytes, bytes] | None) -> None:
    found = (metadata or {}).get(VERSION_KEY, b"none").decode(errors="backslashreplace")
    if found != str(SCHEMA_VERSION):
        raise UsageError(
            f"{path} was written with schema version {cut(found)}, but this program reads version {SCHEMA_VERSION}. "
            "Use another results folder (--results), or the version of tune-qat that wrote it."
        )


def _is_json(text: str, kind: type) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)  # Python reads NaN, and DuckDB does not

    try:
        return isinstance(json.loads(text, parse_constant=refuse), kind)
    except (ValueError, RecursionError):
        return False


def _unsound(path: StoragePath, what: str) -> TuneQatError:
    return TuneQatError(f"{path} {what}. {DAMAGED}")
