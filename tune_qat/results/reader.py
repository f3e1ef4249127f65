"""The record as rows, for the process that runs a study; it only reads. Queries of users go through `views.py`."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tune_qat.config import TuneQatError
from tune_qat.config.shown import cause
from tune_qat.results.layout import compact_number, record_files, study_folders, study_of, table_folder, trial_files
from tune_qat.results.schema import KEYS, TABLES
from tune_qat.results.soundness import DAMAGED, check_count, check_folder, check_rows, check_schema
from tune_qat.storage.paths import StoragePath, open_input, read_whole

AGAIN = 20
"""Largest number of further attempts to read a folder whose files vanish because another process compacts it."""
READ_AT_ONCE = 16
"""Number of files that are read at the same time, as most of the time is spent waiting for storage."""
T = TypeVar("T")


def read_rows(
    results: StoragePath, table: str, study_id: str | None = None, *, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a table with their `study_id`, each key once; of all studies if none is named.

    They have the given `columns` and those of the table's key, or all columns if `columns` is None.

    Raises:
        NotRead: storage does not give a file.
        TuneQatError: a file is damaged; the message names it.
        UsageError: a file has another schema version.
    """
    folders = [table_folder(results, table, study_id)] if study_id else study_folders(results, table)
    rows: list[dict[str, Any]] = []
    for folder in folders:
        own = {"study_id": study_of(folder)}
        found = {}
        for row in while_compacted(partial(read_folder, folder, table, columns=columns)).to_pylist():
            # Later files take precedence, as `record_files` says.
            found[tuple(row[name] for name in KEYS[table])] = {**own, **row}
        rows += found.values()
    return rows


def read_folder(folder: StoragePath, table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of all files of a table's folder, in the order of `record_files`; arguments as `read_files`."""
    return read_files(record_files(folder), table, columns=columns)


def read_files(paths: Sequence[StoragePath], table: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of these files, in order, with the given `columns` and the key's, or all columns if None."""
    wanted = [name for name in TABLES[table].names if columns is None or name in (*KEYS[table], *columns)]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        parts = list(pool.map(partial(read_file, columns=wanted), paths))
    empty = TABLES[table].empty_table().select(wanted)
    # Files of earlier versions of tune-qat lack later columns.
    whole = pa.concat_tables([empty, *parts], promote_options="default")
    return whole.select(wanted)


def read_file(path: StoragePath, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one file, and check its checksums and schema version; `columns` that it does not have are left out.

    Raises:
        FileNotFoundError: the file does not exist.
        NotRead, TuneQatError, UsageError: as `read_rows`.
    """

    def rows(source: Any) -> pa.Table:
        # ParquetFile, not read_table, which would make a column of the folder's name.
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            check_schema(path, file.schema_arrow)
            return file.read(columns)

    table = _parsed(path, rows)
    check_count(path, table.num_rows)
    return table


def read_trial(path: StoragePath, trial_key: str) -> pa.Table:
    """Read one trial's rows of a compacted file, as `read_file`, from the parts of the file that may have them."""

    def rows(source: Any) -> pa.Table:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            check_schema(path, file.schema_arrow)
            return file.read_row_groups(_groups_with(file, trial_key))

    table = _parsed(path, rows)
    return table.filter(pc.equal(table["trial_key"], trial_key))


def _groups_with(file: pq.ParquetFile, trial_key: str) -> list[int]:
    """Return the row groups that may have rows of a trial; the first column is its key."""
    groups = [file.metadata.row_group(number).column(0).statistics for number in range(file.num_row_groups)]
    return [
        at for at, one in enumerate(groups) if one is None or not one.has_min_max or one.min <= trial_key <= one.max
    ]


def check_file(path: StoragePath) -> None:
    """Check a whole file by reading it, one row group in memory at a time; errors as `read_file`."""

    def check(source: Any) -> None:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            check_schema(path, file.schema_arrow)
            check_count(path, file.metadata.num_rows)
            for group in range(file.num_row_groups):
                check_rows(path, file.read_row_group(group))

    _parsed(path, check)


def check_pages(results: StoragePath) -> None:
    """Check the checksums of every page of a local record: DuckDB answers with what the bytes have become.

    A file is read once, unless it changes. Raises `TuneQatError` for the first that is damaged.
    """
    for table in TABLES:
        for folder in study_folders(results, table):
            while_compacted(partial(_check_files, folder, _check_pages))


_WHOLE: set[tuple[str, int, int, int]] = set()
"""Files whose pages have been checked in this process, by path, node, size and time of change."""


def _check_pages(path: StoragePath) -> None:
    found = os.stat(str(path))
    known = (str(path), found.st_ino, found.st_size, found.st_mtime_ns)
    if known in _WHOLE:
        return

    def check(source: Any) -> None:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                # Most files are small, and threads cost more than they give.
                file.read_row_group(group, use_threads=False)

    _parsed(path, check)
    _WHOLE.add(known)


def last_epochs(results: StoragePath, study_id: str, trial_key: str, table: str = "epochs") -> list[dict[str, Any]]:
    """Return a trial's rows of `epochs`, or of `layers`, by epoch, each from the last attempt that has it."""
    folder = table_folder(results, table, study_id)
    found = while_compacted(partial(_rows_of_trial, folder, trial_key))
    names = [name for name in KEYS[table] if name not in ("trial_key", "attempt")]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    # Sorting is stable: for one attempt, a trial's own file, which comes later, replaces a compacted one.
    for row in sorted(found, key=lambda row: row["attempt"]):
        rows[tuple(row[name] for name in names)] = {"study_id": study_id, **row}
    return sorted(rows.values(), key=lambda row: row["epoch"])


def while_compacted(read: Callable[[], T]) -> T:
    """Return `read()`, and call it again if a file vanishes meanwhile because another process compacts the record."""
    for _ in range(AGAIN):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def check_version(results: StoragePath) -> None:
    """Check the schema version of a results folder, which may also be empty or missing.

    Reads one file of each table of each study, since one version writes all files of a study.

    Raises:
        UsageError: the record has another schema version.
        TuneQatError: a file cannot be read; the message names it.
    """
    for table in TABLES:
        for folder in study_folders(results, table):
            check_folder(folder)
            while_compacted(partial(_check_files, folder, _check_file, only=1))


def check_files(results: StoragePath) -> None:
    """Check every file of the record; raise the error of `check_file` for the first that is damaged."""
    for table in TABLES:
        for folder in study_folders(results, table):
            check_folder(folder)
            while_compacted(partial(_check_files, folder, check_file))


def _check_files(folder: StoragePath, check: Callable[[StoragePath], Any], only: int | None = None) -> None:
    for path in record_files(folder)[:only]:
        check(path)


def _check_file(path: StoragePath) -> None:
    metadata = _parsed(path, pq.read_metadata)
    check_schema(path, metadata.schema.to_arrow_schema())
    check_count(path, metadata.num_rows)


def _rows_of_trial(folder: StoragePath, trial_key: str) -> list[dict[str, Any]]:
    """Return all rows of a trial. Compacted files, which are large, are read only if its own lack an epoch."""
    own = [row for path in trial_files(folder, trial_key) for row in read_file(path).to_pylist()]
    epochs = {row["epoch"] for row in own}
    if own and len(epochs) == max(epochs):
        return own
    rows: list[dict[str, Any]] = []
    for path in record_files(folder):
        if compact_number(path) is not None:
            rows += read_trial(path, trial_key).to_pylist()
    return rows + own


def _parsed(path: StoragePath, parse: Callable[[Any], T]) -> T:
    """Return what `parse` makes of a file.

    Raises:
        FileNotFoundError: the file does not exist.
        NotRead: storage does not give the file, which may be whole.
        TuneQatError: the file is damaged, or not a regular one; the message names it.
    """
    try:
        with open_input(path) as source:
            return parse(source)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError):
        # Damage and a failure of storage may raise the same error: all bytes, once read, tell them apart.
        whole = read_whole(path)
    try:
        return parse(pa.BufferReader(whole))
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name of a column that is no UTF-8
        raise TuneQatError(f"{path} cannot be read as Parquet ({cause(error)}). {DAMAGED}") from None
