"""An fsspec file system with a size limit: writes beyond it fail with ENOSPC, as on a full disk.

`quota:///folder` keeps its files in /folder. The limit in bytes is read from /folder/.limit with every write, so that a
test can fill and empty the disk while a study runs.
"""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tune_qat.tuning.trainable import StudyTrial

LIMIT = ".limit"


class QuotaFileSystem(LocalFileSystem):
    protocol = "quota"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("quota://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "r" in mode:
            return file
        return _Limited(file, self._left(Path(path)))

    def _left(self, path: Path) -> int:
        top = next(folder for folder in path.parents if (folder / LIMIT).exists())
        used = sum(one.stat().st_size for one in top.rglob("*") if one.is_file())
        return int((top / LIMIT).read_text()) - used


class _Limited:
    def __init__(self, file: Any, left: int) -> None:
        self._file, self._left = file, left

    def write(self, data: bytes) -> int:
        taken = memoryview(data).nbytes
        if taken > self._left:
            self._file.write(bytes(data)[: max(0, self._left)])  # what fits is written, as on a disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._left -= taken
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Limited":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


fsspec.register_implementation("quota", QuotaFileSystem, clobber=True)


class Trial(StudyTrial):
    """As any other, in a process that knows the file system."""
