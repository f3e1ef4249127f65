"""Connection to results folders through DuckDB, with its errors turned into messages."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import stdtrit

from analysis.bundled import HERE, read
from analysis.reading_only import check_reads_only
from tune_qat.config import UsageError
from tune_qat.config.shown import cause, cut
from tune_qat.results.reader import AGAIN
from tune_qat.results.views import check_damage, connect, vanished
from tune_qat.storage.paths import StoragePath, storage_path

PARTS = "parts"
VIEWS = ("board_arms", "arm_trials", PARTS, "whole_arms", "whole_trials", "scheme_costs")
"""Views of the bundled questions, in files of their names; each may read those before it."""
_LARGEST_DF = 1000
"""Most degrees of freedom in `student_t`; from there on, the normal quantile is at most 0.12 % smaller."""
_NOT_HELD = re.compile(r"\b(INTERVAL|MAP|UNION|VARIANT|BIT|BLOB|BIGNUM|TIME_NS|GEOMETRY)\b")
"""Types of DuckDB that not all formats and frames of `tune-qat query` have."""
_NESTED = re.compile(r"[(\[]")
T = TypeVar("T")


def open(*paths: str | StoragePath, follow: bool = True) -> duckdb.DuckDBPyConnection:  # noqa: A001 - as `gzip.open`
    """Open a DuckDB connection over one or more results folders, or their URIs.

    Its views are `studies`, `arms`, `trials`, `epochs`, `layers`, `decisions` and `reference` (published numbers), and
    for the bundled questions `board_arms` (arms with the labels of their boards), `arm_trials` (trials that fit their
    arm, beside the arm's reference points), `whole_arms` and `whole_trials` (the same with the files of a whole study
    as one), `scheme_costs` (what each scheme costs) and `student_t(df, t)` (two-sided 95 % quantile of Student's t by
    degrees of freedom, 1 to 1000).

    Args:
        paths: results folders or their URIs.
        follow: whether the views show what a running study writes later; without it a compacted record is read faster.

    Raises:
        TuneQatError: a path that holds no record, or a damaged file.
        UsageError: no path, a results folder of another schema version, or one study in two folders.
    """
    if not paths:
        raise UsageError('Name at least one results folder, as in analysis.open("results").')
    connection = connect(*map(storage_path, paths), reference=sorted((HERE / "published").glob("*.csv")), follow=follow)
    connection.register("student_t", _student_t())
    for view in VIEWS:
        # Others read it several times in one question, and it takes longer to plan than they do.
        kind = "TABLE" if view == PARTS and not follow else "VIEW"
        connection.execute(f"CREATE {kind} {view} AS {read(HERE / f'{view}.sql')}")
    return connection


def answer(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """Run one SQL statement that only reads; `UsageError` if it is more than that, DuckDB's own errors otherwise."""
    check_reads_only(connection, text)
    found = _stoppable(connection, partial(_as_held, connection, text))
    # Sums of integers are decimals in DuckDB; pandas has none.
    fields = [pa.field(f.name, pa.float64()) if pa.types.is_decimal(f.type) else f for f in found.schema]
    return found.cast(pa.schema(fields))


def _stoppable(connection: duckdb.DuckDBPyConnection, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, which another thread asks: Ctrl-C stops it at once.

    DuckDB 2.0 looks for Ctrl-C itself where it is asked by the main thread, and goes on half of the time nevertheless.
    """
    with ThreadPoolExecutor(1) as pool:
        asked: Future[T] | None = None
        try:
            asked = pool.submit(ask)
            return asked.result()
        except KeyboardInterrupt:
            while asked is not None and not asked.done():
                connection.interrupt()
                wait([asked], 0.05)
            raise


def _as_held(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """Return the rows; as text those types that JSON, Parquet, pandas or polars do not have, nested ones as JSON."""
    found = connection.sql(text)
    kinds = [str(kind) for kind in found.types]
    if not any(map(_NOT_HELD.search, kinds)):
        return found.to_arrow_table()
    # By position: two columns may have the same name.
    columns = [_as_text(f"#{place}", kind) for place, kind in enumerate(kinds, start=1)]
    (statement,) = connection.extract_statements(text)
    shown = connection.sql(_open_ended(statement.query)).project(", ".join(columns))
    return shown.to_arrow_table().rename_columns(found.columns)


def _open_ended(text: str) -> str:
    """Return a statement up to its semicolon: DuckDB makes it part of another as it is."""
    whole = text.encode()
    ends = (place for place, _ in duckdb.tokenize(text) if whole[place : place + 1] == b";")
    return whole[: next(ends, None)].decode()


def _as_text(column: str, kind: str) -> str:
    if not _NOT_HELD.search(kind):
        return column
    return f"CAST({f'to_json({column})' if _NESTED.search(kind) else column} AS VARCHAR)"


def to_pandas(found: pa.Table) -> pd.DataFrame:
    """Convert an answer to pandas, without DuckDB's own `.df()`, which warns under pandas 3.

    Raises `UsageError` for a value that Python does not have, such as the year 290000.
    """
    try:
        return found.to_pandas()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise UsageError(
            f"The answer has a value that Python has not ({cause(error)}). Ask for text: CAST(x AS VARCHAR)."
        ) from None


def explained(ask: Callable[[], T], paths: Sequence[StoragePath]) -> T:
    """Return what `ask` returns; try again if a running study or `compact` removed or rewrote a file meanwhile.

    Raises:
        TuneQatError: a file of these results is damaged; it is named before the query is blamed.
        UsageError: DuckDB refuses the SQL.
    """
    try:
        return _again(ask)
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
        raise _refused(error) from None
    except duckdb.Error as error:
        check_damage(paths)
        raise _refused(error) from None


def _again(ask: Callable[[], T]) -> T:
    for _ in range(AGAIN):
        try:
            return ask()
        except duckdb.Error as error:
            if not vanished(error):
                raise
    return ask()


def _student_t() -> pa.Table:
    df = np.arange(1, _LARGEST_DF + 1)
    return pa.table({"df": df, "t": stdtrit(df, 0.975)})


def _refused(error: duckdb.Error) -> UsageError:
    return UsageError(f"DuckDB cannot answer this query. {cut(str(error), 2_000)}")
