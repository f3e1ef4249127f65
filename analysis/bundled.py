"""Bundled SQL questions: the files `queries/*.sql`; the first line of each is its question in words."""

import os
from pathlib import Path

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.regular import check_regular
from tune_qat.config.shown import shown

HERE = Path(__file__).parent


def queries() -> dict[str, str]:
    """Return the bundled questions by name, each as the first line of its file."""
    return {path.stem: _question(path) for path in sorted((HERE / "queries").glob("*.sql"))}


def query_text(name: str) -> str:
    """Return the SQL of a bundled question; `UsageError` with the known names if there is none of this name."""
    known = queries()
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"No question {shown(name)}.{hint} Known: {', '.join(known)}. Anything longer is read as SQL.")
    return read(HERE / "queries" / f"{name}.sql")


def sql_of(query: str) -> str:
    """Return SQL as it is, that of a file.sql, or that of the bundled question with this name."""
    word = query.strip()
    if word.endswith(".sql") and (len(word.split()) == 1 or os.path.isfile(word)):
        return _of_file(Path(word).expanduser())
    return query_text(word) if len(word.split()) == 1 else query  # a single word is a name


def read(path: Path) -> str:
    """Read a text file of the package."""
    return path.read_text(encoding="utf-8")


def _of_file(path: Path) -> str:
    check_regular(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise UsageError(f"The query {path} cannot be read: {error.strerror}.") from None


def _question(path: Path) -> str:
    return read(path).partition("\n")[0].removeprefix("--").strip()
