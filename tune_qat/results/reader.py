"""Reads the record: rows for the driver, DuckDB views for everybody. Never writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.layout import table_folder
from tune_qat.results.schema import SCHEMA_VERSION, TABLES, VERSION_KEY

LAST_ATTEMPT = {"epochs": "trial_key, epoch", "layers": "trial_key, epoch, layer, kind"}
"""Tables in which a later attempt replaces an earlier one, and what a row is known by."""


def read_rows(results: Path, table: str, study_id: str | None = None) -> list[dict[str, Any]]:
    """Rows of a table with their `study_id`; of all studies where none is named.

    Raises:
        TuneQatError: a file that cannot be read, named.
        UsageError: a file of another schema version.
    """
    root = Path(results) / table
    folders = [table_folder(results, table, study_id)] if study_id else sorted(root.glob("study_id=*"))
    rows = []
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.parquet")):
            own = {"study_id": folder.name.removeprefix("study_id=")}
            rows += [{**own, **row} for row in read_file(path).to_pylist()]
    return rows


def read_file(path: Path) -> pa.Table:
    """One file of the record, checked for its schema version."""
    try:
        # ParquetFile, not read_table: the folder's name is no column here.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise TuneQatError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}). It is damaged or was not written by "
            "this program; move it away to go on without it."
        ) from None
    found = (table.schema.metadata or {}).get(VERSION_KEY, b"none").decode()
    if found != str(SCHEMA_VERSION):
        raise UsageError(
            f"{path} was written with schema version {found}, but this program reads version {SCHEMA_VERSION}. "
            "Use another results folder (--results), or the version of tune-qat that wrote it."
        )
    return table


def last_epochs(results: Path, study_id: str, trial_key: str) -> list[dict[str, Any]]:
    """A trial's epochs in order, each as its last attempt left it."""
    rows: dict[int, dict[str, Any]] = {}
    for path in table_folder(results, "epochs", study_id).glob(f"{trial_key}.*.parquet"):
        for row in read_file(path).to_pylist():
            known = rows.get(row["epoch"])
            if known is None or row["attempt"] > known["attempt"]:
                rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


def check_version(results: Path) -> None:
    """Check every driver-owned file of a results folder: readable, and of this schema version. Empty is fine."""
    for table in ("studies", "arms"):
        read_rows(results, table)


def connect(*paths: str | Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each table over one or more results folders.

    `study_id` is text, whatever it looks like. `epochs` and `layers` show the last attempt of each epoch.

    Raises:
        TuneQatError: a path that is no results folder.
    """
    roots = [Path(path) for path in paths]
    for root in roots:
        if not any((root / table).is_dir() for table in TABLES):
            what = "holds no record of a study" if root.exists() else "does not exist"
            raise TuneQatError(f"{root} {what}. Name the results folder of a study: tune-qat run ... --results DIR.")
        check_version(root)
    connection = duckdb.connect(":memory:")
    # No extension is fetched behind the user's back; Parquet and JSON are built in.
    connection.execute("SET autoinstall_known_extensions = false")
    for table, schema in TABLES.items():
        connection.register(f"empty_{table}", pa.schema([("study_id", pa.string()), *schema]).empty_table())
        connection.execute(f"CREATE VIEW {table} AS {_select(table, roots)}")
    return connection


def _select(table: str, roots: Sequence[Path]) -> str:
    # DuckDB's `*` leaves out names with a leading dot: files that are still being written.
    patterns = [str(root / table / "study_id=*" / "*.parquet") for root in roots if _has_files(root / table)]
    if not patterns:
        return f"SELECT * FROM empty_{table}"
    listed = ", ".join("'" + pattern.replace("'", "''") + "'" for pattern in patterns)
    read = (
        f"SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = true, "
        "hive_types = {'study_id': VARCHAR})"
    )
    selected = f"SELECT study_id, * EXCLUDE (study_id) FROM (SELECT * FROM empty_{table} UNION ALL BY NAME {read})"
    if table in LAST_ATTEMPT:
        window = f"PARTITION BY study_id, {LAST_ATTEMPT[table]} ORDER BY attempt DESC"
        selected += f" QUALIFY row_number() OVER ({window}) = 1"
    return selected


def _has_files(folder: Path) -> bool:
    return any(True for _ in folder.glob("study_id=*/[!.]*.parquet"))
