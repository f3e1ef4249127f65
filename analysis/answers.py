"""One connection that many questions are asked of, each once: what tables, figures and the report stand on."""

from collections.abc import Sequence
from functools import partial

import duckdb
import pandas as pd
import pyarrow as pa

from analysis.bundled import HERE, query_text, read, sql_of
from analysis.connection import answer, explained, open, to_pandas
from tune_qat.results.views import scattered
from tune_qat.storage.paths import StoragePath, storage_path

Results = str | StoragePath | Sequence[str | StoragePath]
"""One results folder or URI, or several."""
_OF_TRIALS = ("trials", "epochs", "layers")
"""Tables with a file for each trial that many questions are about."""


class Answers:
    """Answers about one or more results folders, kept. They are of the moment when they were first asked for."""

    def __init__(self, *paths: str | StoragePath) -> None:
        """Open the record; errors as of `analysis.open`."""
        self.paths = [storage_path(path) for path in paths]
        self._frames: dict[str, pd.DataFrame] = {}
        self._connection = explained(self._opened, self.paths)

    def frame(self, query: str) -> pd.DataFrame:
        """The answer to a bundled question, or to SQL, asked once and kept: do not change it.

        Errors as of `analysis.frame`.
        """
        if query not in self._frames:
            text = sql_of(query)
            self._frames[query] = to_pandas(explained(lambda: self._answer(text), self.paths))
        return self._frames[query]

    def sql(self, name: str) -> str:
        """The text of a bundled question."""
        return query_text(name)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        connection = open(*self.paths, follow=False)
        # A temporary table is found before a view of the same name.
        for table in filter(partial(scattered, self.paths), _OF_TRIALS):
            connection.execute(f"CREATE TEMP TABLE {table} AS FROM memory.main.{table}")
        # Every question starts from them.
        connection.execute(f"CREATE TEMP TABLE arm_trials AS {read(HERE / 'arm_trials.sql')}")
        return connection

    def _answer(self, text: str) -> pa.Table:
        try:
            return answer(self._connection, text)
        except duckdb.IOException:
            # Its files may have been compacted into another one.
            self._connection = self._opened()
            raise


def answers(results: "Results | Answers") -> Answers:
    """Results that a table or a figure is asked for: `Answers` as they are, paths opened."""
    return results if isinstance(results, Answers) else Answers(*paths_of(results))


def paths_of(results: Results) -> list[StoragePath]:
    """List one path, or several."""
    return [storage_path(path) for path in ([results] if isinstance(results, str | StoragePath) else results)]
