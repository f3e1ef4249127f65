"""SQL that does more than read, however it is dressed: refused, and the connection is as it was."""

from pathlib import Path

import pytest

import analysis
from tests.helpers.records import SmallStudy
from tune_qat.config import UsageError

FUNCTIONS = [
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{file}')",
    "FROM enable_logging(storage_path = '{file}')",
    "SELECT (FROM enable_logging())",
    "WITH x AS MATERIALIZED (FROM enable_logging()) FROM x",
    "FROM query('FROM enable_logging()')",
    "FROM enable_profiling(save_location := '{file}')",
    "FROM enable_profiling()",
    "FROM disable_logging()",
    "PIVOT (SELECT 1 AS a FROM enable_logging()) ON a",
]
"""Functions that set options of the connection, some of which name files."""
STATEMENTS = [
    "WITH x AS (COPY trials TO '{file}') FROM x",
    "WITH x AS (/* ' */ CoPy trials TO '{file}') FROM x",
    "WITH x AS (\u00a0COPY trials TO '{file}') FROM x",
    "WITH a AS (FROM trials), x AS (COPY a TO '{file}') FROM a",
    "(WITH x AS (COPY trials TO '{file}') FROM x) LIMIT 1",
    "WITH x AS (COPY trials TO '{file}') PIVOT trials ON stage",
    "WITH x AS (COPY trials TO '{file}') FROM (PIVOT trials ON stage)",
    "WITH x AS (DELETE FROM trials RETURNING trial_key) FROM x",
    "WITH x AS (UPDATE trials SET stage = 'x' RETURNING trial_key) FROM x",
    "WITH x AS (INSERT INTO trials FROM trials RETURNING trial_key) PIVOT x ON trial_key",
]
"""Statements inside of one that DuckDB calls SELECT or MULTI."""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    study = SmallStudy(tmp_path / "results", "2026")
    study.retrain(study.arm("adam"), 0.8, 0.7)
    return tmp_path / "results"


def test_each_is_refused_and_changes_nothing(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = analysis.Answers(results)
    settings = "CAST(list((name, value) ORDER BY name) AS VARCHAR)"
    state = f"SELECT (SELECT count(*) FROM trials), {settings} FROM duckdb_settings()"
    before = asked.frame(state).values.tolist()
    for number, query in enumerate([*FUNCTIONS, *STATEMENTS]):
        with pytest.raises(UsageError, match="only reads|configuration has been locked"):
            asked.frame(query.format(file=tmp_path / "out"))
            pytest.fail(f"{query} is answered")
        assert asked.frame(f"{state} -- again {number}").values.tolist() == before, query
        assert [path.name for path in tmp_path.iterdir()] == ["results"], query
    for query in (FUNCTIONS[0], STATEMENTS[0]):  # asked on a connection of its own, by the same way
        with pytest.raises(UsageError, match="only reads|configuration has been locked"):
            analysis.frame(results, query.format(file=tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'copy, insert' AS \"delete\" -- update",
        "SELECT trial_key AS last_update FROM trials WHERE stage <> 'insert' /* copy */",
        "SELECT count(*) AS n FROM trials WHERE error_text LIKE '%é copy%' OR true",
        "WITH x AS (FROM trials) PIVOT x ON stage USING count(*)",
        "SELECT name FROM duckdb_settings() LIMIT 1",
    ],
)
def test_words_of_texts_comments_and_names_are_no_statements(results: Path, query: str) -> None:
    assert len(analysis.frame(results, query))


def test_a_connection_of_ones_own_is_free(results: Path) -> None:
    with analysis.open(results) as connection:
        connection.execute("SET threads = 1")
        assert connection.sql("SELECT current_setting('threads')").fetchall() == [(1,)]
