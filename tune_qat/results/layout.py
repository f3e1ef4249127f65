"""Where the record's files are: `results/<table>/study_id=<id>/*.parquet`."""

from pathlib import Path

from tune_qat.config import PLAIN_NAME, UsageError


def check_name(name: str) -> str:
    """`name` itself, if it is a plain file name; `UsageError` before anything else becomes a path."""
    if not PLAIN_NAME.fullmatch(name):
        raise UsageError(
            f"A name that becomes a file must be made of letters, digits, '.', '_' and '-', begin with a letter, digit "
            f"or '_', and have at most 100 characters, but got {name!r}."
        )
    return name


def table_folder(results: Path, table: str, study_id: str) -> Path:
    """Folder of one study's part of a table. The study's id is in the path alone, where every reader finds it."""
    return Path(results) / table / f"study_id={check_name(study_id)}"


def checkpoint_path(results: str | Path, trial_key: str) -> Path:
    """Where a trial's checkpoint lives: ours, not Ray's, so that any later run finds it."""
    return Path(results) / "checkpoints" / check_name(trial_key) / "last.pt"
