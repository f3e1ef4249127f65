"""Bundled SQL questions: the files `queries/*.sql`; the first line of each is its question in words."""

from pathlib import Path

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean

HERE = Path(__file__).parent


def queries() -> dict[str, str]:
    """Return the bundled questions by name, each as the first line of its file."""
    return {path.stem: _question(path) for path in sorted((HERE / "queries").glob("*.sql"))}


def query_text(name: str) -> str:
    """Return the SQL of a bundled question; `UsageError` with the known names if there is none of this name."""
    known = queries()
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"No question {name!r}.{hint} Known: {', '.join(known)}. Anything longer is read as SQL.")
    return read(HERE / "queries" / f"{name}.sql")


def sql_of(query: str) -> str:
    """Return SQL as it is, or the SQL of the bundled question with this name."""
    return query_text(query.strip()) if len(query.split()) == 1 else query  # a single word is a name


def read(path: Path) -> str:
    """Read a text file of the package."""
    return path.read_text(encoding="utf-8")


def _question(path: Path) -> str:
    return read(path).partition("\n")[0].removeprefix("--").strip()
