"""Reads the record: rows for the driver, DuckDB views for everybody. Never writes."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.layout import table_folder
from tune_qat.results.schema import KEYS, REFERENCE, SCHEMA_VERSION, TABLES, VERSION_KEY

FILES = "[!.]*.parquet"
"""A leading dot keeps a file from being read: one that is still being written, or what a file manager left."""
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def read_rows(results: Path, table: str, study_id: str | None = None) -> list[dict[str, Any]]:
    """Rows of a table with their `study_id`; of all studies where none is named.

    Raises:
        TuneQatError: a file that cannot be read, named.
        UsageError: a file of another schema version.
    """
    folders = [table_folder(results, table, study_id)] if study_id else _study_folders(results, table)
    rows = []
    for folder in folders:
        own = {"study_id": folder.name.removeprefix("study_id=")}
        for path in sorted(folder.glob(FILES)):
            rows += [{**own, **row} for row in read_file(path).to_pylist()]
    return rows


def read_file(path: Path) -> pa.Table:
    """One file of the record, checked for its schema version."""
    try:
        # ParquetFile, not read_table: the folder's name is no column here.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    _check_metadata(path, table.schema.metadata)
    return table


def last_epochs(results: Path, study_id: str, trial_key: str) -> list[dict[str, Any]]:
    """A trial's epochs in order, each as its last attempt left it."""
    rows: dict[int, dict[str, Any]] = {}
    for path in table_folder(results, "epochs", study_id).glob(f"{trial_key}.*.parquet"):
        for row in read_file(path).to_pylist():
            known = rows.get(row["epoch"])
            if known is None or row["attempt"] > known["attempt"]:
                rows[row["epoch"]] = {"study_id": study_id, **row}
    return [rows[epoch] for epoch in sorted(rows)]


def check_version(results: Path) -> None:
    """Check that a results folder was written with this schema version. One that is not there or empty is fine.

    Looks at one file of each table of each study: a study is written by one version.

    Raises:
        UsageError: another schema version.
        TuneQatError: a file that cannot be read, named.
    """
    for table in TABLES:
        for folder in _study_folders(results, table):
            for path in sorted(folder.glob(FILES))[:1]:
                try:
                    metadata = pq.read_metadata(path).metadata
                except (pa.ArrowException, OSError) as error:
                    raise _unreadable(path, error) from None
                _check_metadata(path, metadata)


def check_files(results: Path) -> None:
    """Read every file of the record; the error of `read_file` for the first that is damaged."""
    for table in TABLES:
        for folder in _study_folders(results, table):
            for path in sorted(folder.glob(FILES)):
                read_file(path)


def connect(*paths: str | Path, reference: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each table over one or more results folders.

    `study_id` is text, whatever it looks like. `epochs` and `layers` show the last attempt of each epoch. Timestamps
    are UTC without a zone, which DuckDB hands to Python without further packages.

    Args:
        paths: results folders.
        reference: CSV files with the columns of `schema.REFERENCE`: the view `reference`.

    Raises:
        TuneQatError: a path that holds no record, or a file that cannot be read.
        UsageError: another schema version, or one study in two of the folders.
    """
    roots = list(dict.fromkeys(Path(path).expanduser().resolve() for path in paths))
    for root in roots:
        if not any(_has_files(root, table) for table in TABLES):
            what = "holds no record of a study" if root.exists() else "does not exist"
            raise TuneQatError(f"{root} {what}. Name the results folder of a study: tune-qat run ... --results DIR.")
        check_version(root)
    _check_apart(roots)
    connection = duckdb.connect(":memory:")
    # No extension is fetched behind the user's back; Parquet and JSON are built in.
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW reference AS {_select_reference(reference)}")
    for table in TABLES:
        try:
            connection.execute(f"CREATE VIEW {table} AS {_select(table, roots)}")
        except duckdb.Error:
            for root in roots:
                check_files(root)
            raise
    return connection


def _select(table: str, roots: Sequence[Path]) -> str:
    schema = pa.schema([("study_id", pa.string()), *TABLES[table]])
    selected = _empty(schema)
    # The pattern is read again with every query, so that an open connection follows a running study.
    patterns = [glob.escape(str(root / table)) + f"/study_id=*/{FILES}" for root in roots if _has_files(root, table)]
    if patterns:
        # Every column is there with its type, even if older files lack it.
        selected += (
            f" UNION ALL BY NAME SELECT * FROM read_parquet({_list(patterns)}, union_by_name = true, "
            "hive_partitioning = true, hive_types = {'study_id': VARCHAR})"
        )
    moments = [f"{field.name} AT TIME ZONE 'UTC' AS {field.name}" for field in schema if _is_moment(field)]
    replaced = f" REPLACE ({', '.join(moments)})" if moments else ""
    query = f"SELECT *{replaced} FROM ({selected})"
    if "attempt" in KEYS[table]:
        known_by = ", ".join(("study_id", *(name for name in KEYS[table] if name != "attempt")))
        query += f" QUALIFY row_number() OVER (PARTITION BY {known_by} ORDER BY attempt DESC) = 1"
    return query


def _select_reference(paths: Sequence[Path]) -> str:
    if not paths:
        return _empty(REFERENCE)
    columns = ", ".join(f"'{field.name}': '{_SQL_TYPES[field.type]}'" for field in REFERENCE)
    return (
        f"SELECT * FROM read_csv({_list([glob.escape(str(path)) for path in paths])}, auto_detect = false, "
        f"header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', columns = {{{columns}}})"
    )


def _empty(schema: pa.Schema) -> str:
    columns = ", ".join(f"CAST(NULL AS {_SQL_TYPES[field.type]}) AS {field.name}" for field in schema)
    return f"SELECT {columns} WHERE false"


def _list(patterns: Sequence[str]) -> str:
    return "[" + ", ".join("'" + pattern.replace("'", "''") + "'" for pattern in patterns) + "]"


def _is_moment(field: pa.Field) -> bool:
    return bool(pa.types.is_timestamp(field.type))


def _study_folders(results: Path, table: str) -> list[Path]:
    return sorted((Path(results) / table).glob("study_id=*"))


def _has_files(results: Path, table: str) -> bool:
    return any(True for _ in (results / table).glob(f"study_id=*/{FILES}"))


def _check_apart(roots: Sequence[Path]) -> None:
    """Views tell studies apart by their id alone."""
    home: dict[str, Path] = {}
    for root in roots:
        for study_id in sorted({folder.name for table in TABLES for folder in _study_folders(root, table)}):
            if home.setdefault(study_id, root) != root:
                raise UsageError(
                    f"Study {study_id.removeprefix('study_id=')!r} is in {home[study_id]} and in {root}, and would be "
                    "mixed up. Read the two folders one at a time, or give one of the studies another name."
                )


def _check_metadata(path: Path, metadata: Mapping[bytes, bytes] | None) -> None:
    found = (metadata or {}).get(VERSION_KEY, b"none").decode()
    if found != str(SCHEMA_VERSION):
        raise UsageError(
            f"{path} was written with schema version {found}, but this program reads version {SCHEMA_VERSION}. "
            "Use another results folder (--results), or the version of tune-qat that wrote it."
        )


def _unreadable(path: Path, error: Exception) -> TuneQatError:
    cause = str(error).partition("\n")[0]
    return TuneQatError(
        f"{path} cannot be read as Parquet ({cause}). It is damaged or was not written by this program; "
        "move it away to go on without it."
    )
