"""Reads the record as rows, for the driver. Never writes. The views for everybody are in `views.py`."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.layout import compact_number, record_files, study_folders, study_of, table_folder, trial_files
from tune_qat.results.schema import KEYS, SCHEMA_VERSION, TABLES, VERSION_KEY
from tune_qat.storage.paths import StoragePath, open_input

AGAIN = 20
"""Times that a folder is listed anew where files vanish between listing and reading: another process compacts it."""
READ_AT_ONCE = 16
"""Files read at the same time; most of the time is waiting for storage."""
T = TypeVar("T")


def read_rows(
    results: StoragePath, table: str, study_id: str | None = None, *, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Rows of a table with their `study_id`, each key once; of all studies where none is named.

    All columns, unless only some are asked for; those of the table's key are there in any case.

    Raises:
        TuneQatError: a file that cannot be read, named.
        UsageError: a file of another schema version.
    """
    folders = [table_folder(results, table, study_id)] if study_id else study_folders(results, table)
    rows: list[dict[str, Any]] = []
    for folder in folders:
        own = {"study_id": study_of(folder)}
        found = {}
        for row in while_compacted(partial(read_folder, folder, table, columns=columns)).to_pylist():
            # Later files count before earlier ones, and those of single trials before compacted ones.
            found[tuple(row[name] for name in KEYS[table])] = {**own, **row}
        rows += found.values()
    return rows


def read_folder(folder: StoragePath, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """All files of a table's folder, one below the other, compacted ones first; columns as of `read_files`."""
    return read_files(record_files(folder), table, columns=columns)


def read_files(paths: Sequence[StoragePath], table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """These files, one below the other in their order; every column of the schema, or those asked for and the key's."""
    wanted = [name for name in TABLES[table].names if columns is None or name in (*KEYS[table], *columns)]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        parts = list(pool.map(partial(read_file, columns=wanted), paths))
    empty = TABLES[table].empty_table().select(wanted)
    # Files of earlier versions lack later columns.
    whole = pa.concat_tables([empty, *parts], promote_options="default")
    return whole.select(wanted)


def read_file(path: StoragePath, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One file of the record, checked for its checksums and its schema version; those of the columns that it has.

    Raises:
        FileNotFoundError: it is not there.
        TuneQatError, UsageError: as `read_rows`.
    """
    try:
        # ParquetFile, not read_table: the folder's name is no column here.
        with open_input(path) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read(columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    _check_metadata(path, table.schema.metadata)
    return table


def check_file(path: StoragePath) -> None:
    """Read one file whole, a part at a time and keeping none; errors as of `read_file`."""
    try:
        with open_input(path) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
            metadata = file.schema_arrow.metadata
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    _check_metadata(path, metadata)


def last_epochs(results: StoragePath, study_id: str, trial_key: str) -> list[dict[str, Any]]:
    """A trial's epochs in order, each as its last attempt left it."""
    folder = table_folder(results, "epochs", study_id)
    found = while_compacted(partial(_epoch_rows, folder, trial_key))
    rows: dict[int, dict[str, Any]] = {}
    # Sorting keeps the order of equals: of the same attempt, a trial's own file counts before a compacted one.
    for row in sorted(found, key=lambda row: row["attempt"]):
        rows[row["epoch"]] = {"study_id": study_id, **row}
    return [rows[epoch] for epoch in sorted(rows)]


def while_compacted(read: Callable[[], T]) -> T:
    """What `read` gives, begun again where a file vanishes under it because another process compacts the record."""
    for _ in range(AGAIN):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def check_version(results: StoragePath) -> None:
    """Check that a results folder was written with this schema version. One that is not there or empty is fine.

    Looks at one file of each table of each study: a study is written by one version.

    Raises:
        UsageError: another schema version.
        TuneQatError: a file that cannot be read, named.
    """
    for table in TABLES:
        for folder in study_folders(results, table):
            while_compacted(partial(_check_files, folder, _check_file, only=1))


def check_files(results: StoragePath) -> None:
    """Read every file of the record; the error of `check_file` for the first that is damaged."""
    for table in TABLES:
        for folder in study_folders(results, table):
            while_compacted(partial(_check_files, folder, check_file))


def _check_files(folder: StoragePath, check: Callable[[StoragePath], Any], only: int | None = None) -> None:
    for path in record_files(folder)[:only]:
        check(path)


def _check_file(path: StoragePath) -> None:
    try:
        with open_input(path) as source:
            metadata = pq.read_metadata(source).metadata
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    _check_metadata(path, metadata)


def _epoch_rows(folder: StoragePath, trial_key: str) -> list[dict[str, Any]]:
    """All rows of a trial's epochs; compacted files, which are large, are read only where its own do not have all."""
    own = [row for path in trial_files(folder, trial_key) for row in read_file(path).to_pylist()]
    epochs = {row["epoch"] for row in own}
    if own and len(epochs) == max(epochs):
        return own
    rows: list[dict[str, Any]] = []
    for path in record_files(folder):
        if compact_number(path) is not None:
            table = read_file(path)
            rows += table.filter(pc.equal(table["trial_key"], trial_key)).to_pylist()
    return rows + own


def _check_metadata(path: StoragePath, metadata: Mapping[bytes, bytes] | None) -> None:
    found = (metadata or {}).get(VERSION_KEY, b"none").decode()
    if found != str(SCHEMA_VERSION):
        raise UsageError(
            f"{path} was written with schema version {found}, but this program reads version {SCHEMA_VERSION}. "
            "Use another results folder (--results), or the version of tune-qat that wrote it."
        )


def _unreadable(path: StoragePath, error: Exception) -> TuneQatError:
    cause = str(error).partition("\n")[0]
    return TuneQatError(
        f"{path} cannot be read as Parquet ({cause}). It is damaged or was not written by this program; "
        "`tune-qat run` sets it aside and runs its trial again."
    )
