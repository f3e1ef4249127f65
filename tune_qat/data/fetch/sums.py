"""SHA-256 of the files that were fetched, kept beside them as `sha256sum` writes and checks them."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tune_qat.config.regular import is_regular

WORK = ".tune-qat"
"""Folder in the data folder for downloads that go on, and for the sums of what came out of them."""


def work_folder(folder: Path, name: str) -> Path:
    """Return the folder that a data set's downloads and sums are in."""
    return folder / WORK / name


def sums_file(folder: Path, name: str, archive: str) -> Path:
    """Return the file with the sums of what came out of an archive."""
    return work_folder(folder, name) / f"{archive}.sha256"


def write_sums(path: Path, sums: Mapping[str, str]) -> None:
    """Write sums by path under the data folder, as a whole: to a temporary name, then by its own."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_sums(path: Path) -> dict[str, str]:
    """Return sums by path under the data folder; none where there is no such file, or it is none of sums."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if is_regular(path) else []
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = [line.split("  ", 1) for line in lines]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def changed(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the files of these sums: a line for each that is missing or has other bytes."""
    return [f"{name} {why}" for name, digest in sums.items() if (why := _wrong(folder / name, digest))]


def _wrong(path: Path, digest: str) -> str:
    try:
        if not is_regular(path):
            return "is no regular file"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == digest else "has other bytes than were fetched"
