"""DuckDB views of the record, for queries of users; they only read."""

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.shown import cause
from tune_qat.results.layout import FILES, compact_number, record_files, study_folders, study_of
from tune_qat.results.reader import check_files, check_pages, check_version, read_file, while_compacted
from tune_qat.results.schema import KEYS, REFERENCE, TABLES
from tune_qat.storage.paths import StoragePath

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


def connect(*paths: StoragePath, reference: Sequence[Path] = (), follow: bool = True) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with a view for each table over one or more results folders.

    `study_id` is always text. `epochs` and `layers` show the last attempt of each epoch, and a row in a trial's own
    file takes precedence over one in a compacted file. Timestamps are UTC without a zone, which DuckDB converts to
    Python without further packages. Views of local folders follow a running study; a remote record is read once, here.
    Views that do not `follow` read compacted files as they are, without a search for duplicate keys; once these files
    are replaced, their queries fail (`vanished`).

    Args:
        paths: results folders or their URIs.
        reference: CSV files with the columns of `schema.REFERENCE`: the view `reference`.
        follow: whether the views of local folders show rows that are written later.

    Raises:
        TuneQatError: a path holds no record, or a file cannot be read or is not as it was written.
        UsageError: a record has another schema version, or two of the folders hold the same study.
    """
    roots = list(dict.fromkeys(path.resolve() for path in paths))
    for root in roots:
        if not any(_has_files(root, table) for table in TABLES):
            there = not isinstance(root, Path) or root.exists()
            what = "holds no record of a study" if there else "does not exist"
            raise TuneQatError(f"{root} {what}. Name the results folder of a study: tune-qat run ... --results DIR.")
        check_version(root)
        if isinstance(root, Path):
            check_pages(root)
    _check_apart(roots)
    connection = duckdb.connect(":memory:")
    # DuckDB downloads no extension; Parquet and JSON are built in.
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE VIEW reference AS {_select_reference(reference)}")
    for table in TABLES:
        merged = [] if follow else _merged(roots, table)
        query = _select(
            table, [_read_parquet(merged)] if merged else _sources(connection, table, roots), once=bool(merged)
        )
        with naming_damage(*roots):
            while_compacted(partial(_create_view, connection, table, query))
            _check_types(connection, table)
    return connection


@contextmanager
def naming_damage(*results: StoragePath) -> Iterator[None]:
    """Name a damaged file of these results where the block fails, for whatever reason: damage shows in many ways.

    Raises `TuneQatError` for the first such file, and for an error of DuckDB; any other error stays as it is.
    """
    try:
        yield
    except TuneQatError:
        raise
    except Exception as error:
        check_damage(results)
        if isinstance(error, duckdb.Error | FileNotFoundError):
            raise TuneQatError(f"The record in {', '.join(map(str, results))} cannot be read: {cause(error)}") from None
        raise


def check_damage(results: Sequence[StoragePath]) -> None:
    """Raise `TuneQatError` that names the first file of these results which cannot be read, if there is one."""
    for root in results:
        check_files(root)
    # DuckDB refuses some files that pyarrow reads.
    for root in results:
        for folder in [one for table in TABLES for one in study_folders(root, table) if isinstance(one, Path)]:
            for path in record_files(folder):
                try:
                    with duckdb.connect() as connection:
                        connection.sql(f"FROM {_read_parquet([glob.escape(str(path))])}").to_arrow_table()
                except duckdb.Error as error:
                    raise TuneQatError(
                        f"{path} cannot be read by DuckDB ({cause(error)}). It is damaged; move it away, and "
                        "`tune-qat run` runs its trial again."
                    ) from None


def read_sql(module: str, name: str) -> str:
    """Read the query `name.sql` from the folder of a module; `module` is its `__file__`."""
    return Path(module).with_name(f"{name}.sql").read_text(encoding="utf-8")


def vanished(error: duckdb.Error) -> bool:
    """Return whether a query failed because a file was removed or replaced meanwhile, and may succeed if repeated.

    `compact` removes files, and a running study replaces them. At a replaced one DuckDB's Parquet reader raises its
    base class of errors, because the file's parts are not where they were.
    """
    gone = ("No such file", "No files found")
    replaced = type(error) is duckdb.Error
    return replaced or (isinstance(error, duckdb.IOException) and any(words in str(error) for words in gone))


def scattered(paths: Sequence[StoragePath], table: str) -> bool:
    """Return whether a table of local results has more than one compacted file for each study.

    Each query then opens all of them: for a running study, one for each trial.
    """
    roots = [path.resolve() for path in paths]
    return all(isinstance(root, Path) for root in roots) and not _merged(roots, table)


def _create_view(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    try:
        connection.execute(f"CREATE VIEW {table} AS {query}")
    except duckdb.Error as error:
        if vanished(error):
            raise FileNotFoundError(str(error)) from error
        raise


def _check_types(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Raise `duckdb.Error` where a file has changed the type of a column: DuckDB finds one that holds all values."""
    asked = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
    found = dict(connection.execute(asked, [table]).fetchall())
    for field in TABLES[table]:
        kind = "TIMESTAMP" if pa.types.is_timestamp(field.type) else _SQL_TYPES[field.type]
        if found[field.name] != kind:
            raise duckdb.ConversionException(f"column {field.name} of {table} is {found[field.name]}, not {kind}")


def _sources(connection: duckdb.DuckDBPyConnection, table: str, roots: Sequence[StoragePath]) -> list[str]:
    """Return the SQL sources of a table's rows, with the columns `study_id` and `filename` beside its own."""
    sources = []
    # The pattern is read again with every query, so that an open connection follows a running study.
    patterns = [
        glob.escape(str(root / table)) + f"/study_id=*/{FILES}"
        for root in roots
        if isinstance(root, Path) and _has_files(root, table)
    ]
    if patterns:
        sources.append(_read_parquet(patterns))
    for number, root in enumerate(roots):
        if not isinstance(root, Path) and _has_files(root, table):
            name = f"remote_{number}_{table}"
            connection.register(name, while_compacted(partial(_read_remote, root, table)))
            sources.append(name)
    return sources


def _merged(roots: Sequence[StoragePath], table: str) -> list[str]:
    """Return a table's files if each study has one compacted file and no other, so that no key is there twice."""
    files = [record_files(folder) for root in roots for folder in study_folders(root, table)]
    whole = all(len(found) == 1 and compact_number(found[0]) is not None for found in files)
    local = all(isinstance(root, Path) for root in roots)
    return [glob.escape(str(found[0])) for found in files] if whole and local else []


def _read_parquet(patterns: Sequence[str]) -> str:
    # By name, since older files lack some columns.
    return (
        f"read_parquet({_list(patterns)}, union_by_name = true, filename = true, hive_partitioning = true, "
        "hive_types = {'study_id': VARCHAR})"
    )


def _read_remote(root: StoragePath, table: str) -> pa.Table:
    parts = []
    for folder in study_folders(root, table):
        for path in record_files(folder):
            part = read_file(path)
            for name, value in (("study_id", study_of(folder)), ("filename", str(path))):
                part = part.append_column(name, pa.repeat(pa.scalar(value), len(part)))
            parts.append(part)
    return pa.concat_tables(parts, promote_options="default")


def _select(table: str, sources: Sequence[str], *, once: bool) -> str:
    """Return the query for a table's rows, each key once; no duplicates are looked for if each is there `once`."""
    columns = [pa.field("study_id", pa.string()), *TABLES[table]]
    empty = _empty(pa.schema([*columns, pa.field("filename", pa.string())]))
    selected = empty + "".join(f" UNION ALL BY NAME SELECT * FROM {source}" for source in sources)
    moments = [
        f"{field.name} AT TIME ZONE 'UTC' AS {field.name}" for field in columns if pa.types.is_timestamp(field.type)
    ]
    replaced = f" REPLACE ({', '.join(moments)})" if moments else ""
    query = f"SELECT * EXCLUDE (filename){replaced} FROM ({selected})"
    if "trial_key" in KEYS[table] and not once:
        known_by = ", ".join(("study_id", *(name for name in KEYS[table] if name != "attempt")))
        last = "attempt DESC, " if "attempt" in KEYS[table] else ""
        # First a trial's own file, then the compacted one with the highest number.
        compact = r"TRY_CAST(regexp_extract(filename, 'compact-(\d+)\.parquet$', 1) AS BIGINT)"
        query += f" QUALIFY row_number() OVER (PARTITION BY {known_by} ORDER BY {last}{compact} DESC NULLS FIRST) = 1"
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


def _has_files(results: StoragePath, table: str) -> bool:
    return any(True for _ in (results / table).glob(f"study_id=*/{FILES}"))


def _check_apart(roots: Sequence[StoragePath]) -> None:
    """Raise `UsageError` if two folders hold the same study: views distinguish studies by their id alone."""
    home: dict[str, StoragePath] = {}
    for root in roots:
        for study_id in sorted({study_of(folder) for table in TABLES for folder in study_folders(root, table)}):
            if home.setdefault(study_id, root) != root:
                raise UsageError(
                    f"Study {study_id!r} is in {home[study_id]} and in {root}, and its rows would be mixed. "
                    "Read one folder at a time, or give one of the studies another name."
                )
