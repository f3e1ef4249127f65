"""Queries over results folders: DuckDB views over their Parquet files, and the bundled SQL in `queries/*.sql`.

con = analysis.open("results")
con.sql("SELECT study_id, weight_bits, optimizer, max(val_metric) FROM trials WHERE stage = 'search' GROUP BY ALL")
analysis.frame("results", "leaderboard")

DuckDB, pandas and pyarrow are imported when something is asked.
"""

from typing import TYPE_CHECKING, Any

from analysis.answers import Answers, Results, answers, paths_of
from analysis.bundled import queries, query_text, sql_of
from tune_qat.config import TuneQatError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from analysis.connection import open

__all__ = ["Answers", "answers", "arrow", "frame", "open", "polars", "queries", "query_text"]


def __getattr__(name: str) -> Any:
    if name != "open":
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    from analysis.connection import open

    return open


def frame(paths: Results, query: str) -> "pd.DataFrame":
    """Return the answer to `query`, SQL or the name of a bundled question, over one or more results folders.

    Raises:
        TuneQatError: as for `open`.
        UsageError: as for `open`; an unknown name; a query that does more than read; SQL that DuckDB refuses.
    """
    from analysis.connection import to_pandas

    return to_pandas(arrow(paths, query))


def arrow(paths: Results, query: str) -> "pa.Table":
    """Return the same answer as `frame`, as a pyarrow table."""
    from analysis.connection import answer, explained, open
    from analysis.reading_only import lock

    text, folders = sql_of(query), paths_of(paths)

    def ask() -> "pa.Table":
        with open(*folders, follow=False) as connection:
            lock(connection)
            return answer(connection, text)

    return explained(ask, folders)


def polars(paths: Results, query: str) -> "pl.DataFrame":
    """Return the same answer as `frame`, as a polars frame; `TuneQatError` if polars is not installed."""
    try:
        import polars as pl
    except ImportError:
        raise TuneQatError("analysis.polars needs polars: pip install polars. analysis.frame gives pandas.") from None
    return pl.DataFrame(arrow(paths, query))
