"""Cache of answers over one connection: tables, figures and the report share it, so that each question runs once.

DuckDB, pandas and pyarrow are imported when something is asked: `import analysis` loads none of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from analysis.bundled import HERE, query_text, read, sql_of
from tune_qat.storage.paths import StoragePath, storage_path

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

Results = str | StoragePath | Sequence[str | StoragePath]
"""One results folder or URI, or several."""
_OF_TRIALS = ("trials", "epochs", "layers")
"""Tables with one file for each trial that many questions read."""
_ONCE = ("arm_trials", "whole_trials")


class Answers:
    """Cached answers about one or more results folders. Each shows the record as it was when first asked for."""

    def __init__(self, *paths: str | StoragePath) -> None:
        """Open the record. Raises the errors of `analysis.open`."""
        self.paths = [storage_path(path) for path in paths]
        self._frames: dict[str, pd.DataFrame] = {}
        from analysis.connection import explained

        self._connection = explained(self._opened, self.paths)

    def frame(self, query: str) -> "pd.DataFrame":
        """Return the answer to a bundled question or to SQL. The frame is cached: do not change it.

        Raises the errors of `analysis.frame`.
        """
        from analysis.connection import explained, to_pandas

        if query not in self._frames:
            text = sql_of(query)
            self._frames[query] = to_pandas(explained(lambda: self._answer(text), self.paths))
        return self._frames[query]

    def sql(self, name: str) -> str:
        """Return the SQL of a bundled question."""
        return query_text(name)

    def _opened(self) -> "duckdb.DuckDBPyConnection":
        from analysis.connection import open
        from analysis.reading_only import lock
        from tune_qat.results.views import scattered

        connection = open(*self.paths, follow=False)
        # A temporary table is found before a view of the same name.
        for table in filter(partial(scattered, self.paths), _OF_TRIALS):
            connection.execute(f"CREATE TEMP TABLE {table} AS FROM memory.main.{table}")
        # Most questions read from these views: they are computed once.
        for view in _ONCE:
            connection.execute(f"CREATE TEMP TABLE {view} AS {read(HERE / f'{view}.sql')}")
        lock(connection)
        return connection

    def _answer(self, text: str) -> "pa.Table":
        import duckdb

        from analysis.connection import answer

        try:
            return answer(self._connection, text)
        except duckdb.IOException:
            # The files that were opened may have been compacted into another one.
            self._connection = self._opened()
            raise


def answers(results: "Results | Answers") -> Answers:
    """Return `Answers` as they are, or open results paths as `Answers`."""
    return results if isinstance(results, Answers) else Answers(*paths_of(results))


def paths_of(results: Results) -> list[StoragePath]:
    """Return one path, or several, as a list."""
    return [storage_path(path) for path in ([results] if isinstance(results, str | StoragePath) else results)]
