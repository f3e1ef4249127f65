"""Temporary folders of runs, each held by a lock as long as its process lives, and removed by a later run."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_qat.config.system import lock, user_number

LOCK = "tune_qat.lock"
"""File of a folder that is ours, locked while the folder is in use."""
SCRATCH = "tune_qat-"
"""First part of the names of Ray Tune's folders."""
SESSION = "session_"
"""First part of the names of Ray's folders."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; the lock ends with the process, however that ends."""
    new = folder / f"{LOCK}.new"
    with new.open("wb") as file:
        lock(file)
        new.rename(folder / LOCK)  # locked from its first moment on
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder that is held, and removed in the end; a later run removes what is written to it then."""
    remove_left(Path(tempfile.gettempdir()), SCRATCH)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
    try:
        with held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            if folder.exists():
                (folder / LOCK).touch()


def remove_left(place: Path, prefix: str) -> None:
    """Remove the folders of this user in `place` that were held, and are not any more."""
    for mark in place.glob(f"{prefix}*/{LOCK}"):
        folder = mark.parent
        with suppress(OSError):  # one that is held, or that another run removes
            if folder.is_symlink() or {folder.stat().st_uid, mark.lstat().st_uid} != {user_number()}:
                continue
            with mark.open("rb+") as file:
                lock(file, wait=False)
                shutil.rmtree(folder, ignore_errors=True)
