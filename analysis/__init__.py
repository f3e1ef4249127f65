"""Asks the record: DuckDB views over results folders, and the bundled questions in `queries/*.sql`.

con = analysis.open("results")
con.sql("SELECT optimizer, max(val_metric) FROM trials GROUP BY ALL")
analysis.frame("results", "leaderboard")
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import stdtrit

from tune_qat.config import UsageError
from tune_qat.lookup import did_you_mean
from tune_qat.results.place import Place, RemotePath
from tune_qat.results.reader import AGAIN, check_files
from tune_qat.results.views import connect, vanished

__all__ = ["frame", "open", "queries", "query_text"]

_HERE = Path(__file__).parent
_LARGEST_DF = 1000
"""Of `student_t`; the normal distribution's quantile is only 0.12 % smaller."""


def open(*paths: str | Place) -> duckdb.DuckDBPyConnection:  # noqa: A001 - `analysis.open`, as `gzip.open`
    """A DuckDB connection over one or more results folders, or their URIs.

    Its views are `studies`, `arms`, `trials`, `epochs`, `layers`, `decisions` and `reference` (published numbers), and
    for the bundled questions `arm_trials` (trials that fit their arm, beside the arm's reference points) and
    `student_t(df, t)` (two-sided 95 % quantile of Student's t by degrees of freedom, 1 to 1000).

    Raises:
        TuneQatError: a path that holds no record, or a damaged file.
        UsageError: no path, a results folder of another schema version, or one study in two folders.
    """
    if not paths:
        raise UsageError('Name at least one results folder, as in analysis.open("results").')
    connection = connect(*paths, reference=sorted((_HERE / "published").glob("*.csv")))
    connection.register("student_t", _student_t())
    connection.execute(f"CREATE VIEW arm_trials AS {_read(_HERE / 'arm_trials.sql')}")
    return connection


def frame(paths: str | Place | Sequence[str | Place], query: str) -> pd.DataFrame:
    """The answer to `query`, which is SQL or the name of a bundled question, over one or more results folders.

    Raises:
        TuneQatError: as `open`.
        UsageError: as `open`; an unknown name; a query that does more than read; SQL that DuckDB refuses.
    """
    text = query_text(query.strip()) if len(query.split()) == 1 else query  # one word is no SQL
    folders = [paths] if isinstance(paths, str | Path | RemotePath) else list(paths)
    with open(*folders) as connection:
        try:
            _check_reads_only(connection.extract_statements(text))
            answer = _ask(connection, text)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise _refused(error) from None
        except duckdb.Error as error:
            # Perhaps not the query's fault: a damaged file is named before the query is blamed.
            for folder in folders:
                check_files(folder)
            raise _refused(error) from None
    # Sums of integers are decimals in DuckDB; pandas has none. Not .df(): it warns under pandas 3.
    fields = [pa.field(f.name, pa.float64()) if pa.types.is_decimal(f.type) else f for f in answer.schema]
    return answer.cast(pa.schema(fields)).to_pandas()


def queries() -> dict[str, str]:
    """The bundled questions by name: the first line of each file."""
    return {path.stem: _question(path) for path in sorted((_HERE / "queries").glob("*.sql"))}


def query_text(name: str) -> str:
    """SQL of a bundled question, to copy and edit; `UsageError` with the known names where there is none."""
    known = queries()
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"No question {name!r}.{hint} Known: {', '.join(known)}. Anything longer is read as SQL.")
    return _read(_HERE / "queries" / f"{name}.sql")


def _question(path: Path) -> str:
    return _read(path).partition("\n")[0].removeprefix("--").strip()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _student_t() -> pa.Table:
    df = np.arange(1, _LARGEST_DF + 1)
    return pa.table({"df": df, "t": stdtrit(df, 0.975)})


def _check_reads_only(statements: Sequence[duckdb.Statement]) -> None:
    # FROM, WITH, VALUES, DESCRIBE, SUMMARIZE and SHOW are SELECT too; MULTI is a PIVOT that looks up its values.
    # EXPLAIN is left out: EXPLAIN ANALYZE does what it explains, such as writing a file.
    reading = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)
    if len(statements) != 1:
        raise UsageError(f"A query is one SQL statement, but got {len(statements)}.")
    if statements[0].type not in reading:
        raise UsageError(
            f"A query only reads, but got {statements[0].type.name}. Ask with SELECT; -o FILE keeps the answer."
        )


def _ask(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    """The answer, asked for again where a running study or `compact` took a file away under the query."""
    for _ in range(AGAIN):
        try:
            return connection.sql(text).to_arrow_table()
        except duckdb.IOException as error:
            if not vanished(error):
                raise
    return connection.sql(text).to_arrow_table()


def _refused(error: duckdb.Error) -> UsageError:
    return UsageError(f"DuckDB cannot answer this query. {error}")
