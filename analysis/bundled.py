"""The bundled questions: `queries/*.sql`, one a file, each beginning with its question."""

from pathlib import Path

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean

HERE = Path(__file__).parent


def queries() -> dict[str, str]:
    """The bundled questions by name: the first line of each file."""
    return {path.stem: _question(path) for path in sorted((HERE / "queries").glob("*.sql"))}


def query_text(name: str) -> str:
    """SQL of a bundled question, to copy and edit; `UsageError` with the known names where there is none."""
    known = queries()
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"No question {name!r}.{hint} Known: {', '.join(known)}. Anything longer is read as SQL.")
    return read(HERE / "queries" / f"{name}.sql")


def sql_of(query: str) -> str:
    """SQL as it is, or that of the bundled question of this name."""
    return query_text(query.strip()) if len(query.split()) == 1 else query  # one word is no SQL


def read(path: Path) -> str:
    """A text file of the package."""
    return path.read_text(encoding="utf-8")


def _question(path: Path) -> str:
    return read(path).partition("\n")[0].removeprefix("--").strip()
