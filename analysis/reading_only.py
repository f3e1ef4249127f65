"""Whether SQL only reads. DuckDB calls a statement SELECT by its end: one of its parts may write all the same."""

import re

import duckdb

from tune_qat.config import UsageError

READING = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)
"""FROM, WITH, VALUES, DESCRIBE, SUMMARIZE and SHOW are SELECT too; MULTI is a PIVOT that looks up its values.

EXPLAIN is left out: EXPLAIN ANALYZE does what it explains, such as writing a file.
"""
_TEXTS = (duckdb.token_type.string_const, duckdb.token_type.comment)
_WRITING = {"copy", "insert", "update", "delete", "merge"}
"""Statements that may stand in a WITH: `WITH x AS (COPY trials TO 'file') FROM x` writes a file."""


def check_reads_only(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Raise `UsageError` unless the text is one SQL statement that only reads; DuckDB's errors if it is no SQL."""
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise UsageError(f"A query must be one SQL statement, but got {len(statements)}.")
    kind = statements[0].type
    found = kind.name if kind not in READING else next(iter(_WRITING & _words(text)), "").upper()
    if found:
        raise UsageError(f"A query only reads, but got {found}. Use SELECT; -o FILE writes the answer to a file.")


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Let no query change the connection: functions such as `enable_logging` set options, which may name files."""
    connection.execute("SET lock_configuration = true")


def _words(text: str) -> set[str]:
    """Return the words of SQL in lower case, without those in texts, comments and quoted names."""
    whole = text.encode()
    tokens = [*duckdb.tokenize(text), (len(whole), None)]
    words: set[str] = set()
    for (start, kind), (end, _) in zip(tokens, tokens[1:], strict=False):
        token = whole[start:end].decode()
        quoted = kind in _TEXTS or token.startswith('"')
        words.update(() if quoted else re.findall(r"\w+", token.lower()))
    return words
