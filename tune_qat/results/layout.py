"""Paths of the record's files: `results/<table>/study_id=<id>/*.parquet`."""

import os
import re
from pathlib import Path
from typing import overload

from tune_qat.config import PLAIN_NAME, UsageError
from tune_qat.config.shown import shown
from tune_qat.storage.paths import StoragePath

FILES = "[!.]*.parquet"
"""Pattern of the files that are read. A leading dot excludes incomplete files and those of file managers."""
GIVEN = "given-"
"""Beginning of the names of folders with starts from given weights, among those of trials."""
COMPACT = re.compile(r"compact-(\d+)\.parquet")
"""Names of compacted files. A row in a trial's own file takes precedence over theirs."""


def check_name(name: str) -> str:
    """Return a name that becomes part of a path; raise `UsageError` if it is not a plain file name."""
    if not PLAIN_NAME.fullmatch(name):
        raise UsageError(
            f"A name that becomes a file must be made of letters, digits, '.', '_' and '-', begin with a letter, digit "
            f"or '_', and have at most 100 characters, but got {shown(name)}."
        )
    return name


@overload
def table_folder(results: Path, table: str, study_id: str) -> Path: ...
@overload
def table_folder(results: StoragePath, table: str, study_id: str) -> StoragePath: ...
def table_folder(results: StoragePath, table: str, study_id: str) -> StoragePath:
    """Return the folder of one study's rows of a table. No column repeats the study's id, which is in this path."""
    return results.absolute() / table / f"study_id={check_name(study_id)}"


def study_folders(results: StoragePath, table: str) -> list[StoragePath]:
    """Return the folders of a table, one for each study."""
    return sorted((results.absolute() / table).glob("study_id=*"), key=str)


def study_of(folder: StoragePath) -> str:
    """Return the study's id from a folder of a table."""
    return folder.name.removeprefix("study_id=")


def record_files(folder: StoragePath) -> list[StoragePath]:
    """Return the Parquet files of a table's folder, later ones taking precedence: first the compacted ones."""
    return sorted(folder.glob(FILES), key=lambda path: (compact_number(path) is None, compact_number(path), str(path)))


def trial_files(folder: StoragePath, trial_key: str) -> list[StoragePath]:
    """Return a trial's files, one for each attempt, in the folder of `epochs` or `layers`."""
    prefix = f"{check_name(trial_key)}."
    if isinstance(folder, Path):
        # Not `glob`, which takes several times as long in a folder with a thousand other trials.
        names = os.listdir(folder) if folder.is_dir() else []
        return [folder / name for name in names if name.startswith(prefix) and name.endswith(".parquet")]
    return list(folder.glob(f"{prefix}*.parquet"))


def study_file(results: StoragePath, study_id: str) -> StoragePath:
    """Return the file of a study's row, which is there from the first trial on."""
    return table_folder(results, "studies", study_id) / "study.parquet"


def compact_number(path: StoragePath) -> int | None:
    """Return the number of a compacted file; None for the file of a single trial."""
    match = COMPACT.fullmatch(path.name)
    return int(match[1]) if match else None


@overload
def checkpoint_path(results: Path, study_id: str, trial_key: str) -> Path: ...
@overload
def checkpoint_path(results: StoragePath, study_id: str, trial_key: str) -> StoragePath: ...
def checkpoint_path(results: StoragePath, study_id: str, trial_key: str) -> StoragePath:
    """Return the path of a trial's checkpoint, which its study alone writes."""
    return table_folder(results, "checkpoints", study_id) / check_name(trial_key) / "last.pt"


def given_start_path(results: StoragePath, study_id: str, sha256: str) -> StoragePath:
    """Return the path of the start that a study has assembled from given weights, by the hash of the whole."""
    return checkpoint_path(results, study_id, f"{GIVEN}{sha256[:16]}")


@overload
def checkpoint_to_read(results: Path, study_id: str, trial_key: str) -> Path: ...
@overload
def checkpoint_to_read(results: StoragePath, study_id: str, trial_key: str) -> StoragePath: ...
def checkpoint_to_read(results: StoragePath, study_id: str, trial_key: str) -> StoragePath:
    """Return the path to read a trial's checkpoint from: the study's own, if there is none that of earlier versions.

    In earlier versions all studies of a folder wrote the same file, which may hold another study's epoch: whoever reads
    it checks what it holds, and nobody writes, moves or removes it.
    """
    own = checkpoint_path(results, study_id, trial_key)
    shared = results.absolute() / "checkpoints" / check_name(trial_key) / "last.pt"
    return own if own.exists() or not shared.exists() else shared
