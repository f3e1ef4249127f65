"""Where the record's files are: `results/<table>/study_id=<id>/*.parquet`."""

import os
import re
from pathlib import Path
from typing import overload

from tune_qat.config import PLAIN_NAME, UsageError
from tune_qat.storage.paths import StoragePath

FILES = "[!.]*.parquet"
"""A leading dot keeps a file from being read: one that is still being written, or what a file manager left."""
COMPACT = re.compile(r"compact-(\d+)\.parquet")
"""Files that `compact` merged others into; a file of a single trial counts before them."""


def check_name(name: str) -> str:
    """`name` itself, if it is a plain file name; `UsageError` before anything else becomes a path."""
    if not PLAIN_NAME.fullmatch(name):
        raise UsageError(
            f"A name that becomes a file must be made of letters, digits, '.', '_' and '-', begin with a letter, digit "
            f"or '_', and have at most 100 characters, but got {name!r}."
        )
    return name


@overload
def table_folder(results: Path, table: str, study_id: str) -> Path: ...
@overload
def table_folder(results: StoragePath, table: str, study_id: str) -> StoragePath: ...
def table_folder(results: StoragePath, table: str, study_id: str) -> StoragePath:
    """Folder of one study's part of a table. The study's id is in the path alone, where every reader finds it."""
    return results.absolute() / table / f"study_id={check_name(study_id)}"


def study_folders(results: StoragePath, table: str) -> list[StoragePath]:
    """The folders of a table, one for each study."""
    return sorted((results.absolute() / table).glob("study_id=*"), key=str)


def study_of(folder: StoragePath) -> str:
    """The study's id, of a folder of a table."""
    return folder.name.removeprefix("study_id=")


def record_files(folder: StoragePath) -> list[StoragePath]:
    """The Parquet files of a table's folder: compacted ones first, in the order in which later ones count more."""
    return sorted(folder.glob(FILES), key=lambda path: (compact_number(path) is None, compact_number(path), str(path)))


def trial_files(folder: StoragePath, trial_key: str) -> list[StoragePath]:
    """A trial's own files in a folder of a table with a file for each attempt."""
    prefix = f"{check_name(trial_key)}."
    if isinstance(folder, Path):
        # Not `glob`, which takes several times as long to look at the files of a thousand other trials.
        names = os.listdir(folder) if folder.is_dir() else []
        return [folder / name for name in names if name.startswith(prefix) and name.endswith(".parquet")]
    return list(folder.glob(f"{prefix}*.parquet"))


def compact_number(path: StoragePath) -> int | None:
    """The number of a compacted file; None for the file of a single trial."""
    match = COMPACT.fullmatch(path.name)
    return int(match[1]) if match else None


@overload
def checkpoint_path(results: Path, trial_key: str) -> Path: ...
@overload
def checkpoint_path(results: StoragePath, trial_key: str) -> StoragePath: ...
def checkpoint_path(results: StoragePath, trial_key: str) -> StoragePath:
    """Where a trial's checkpoint lives: ours, not Ray's, so that any later run finds it."""
    return results.absolute() / "checkpoints" / check_name(trial_key) / "last.pt"
