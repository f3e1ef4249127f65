"""An fsspec file system with a size limit: writes beyond it fail with ENOSPC, as on a full disk.

`quota:///folder` keeps its files in /folder. The limit in bytes is read from /folder/.limit with every write, so that a
test can fill and empty the disk while a study runs. /folder/.refused is there once a write has failed.
"""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

LIMIT = ".limit"
REFUSED = ".refused"


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
        top = next(folder for folder in Path(path).parents if (folder / LIMIT).exists())
        return _Limited(file, top)


class _Limited:
    def __init__(self, file: Any, top: Path) -> None:
        used = sum(one.stat().st_size for one in top.rglob("*") if one.is_file())
        self._file, self._top, self._left = file, top, int((top / LIMIT).read_text()) - used

    def write(self, data: bytes) -> int:
        taken = memoryview(data).nbytes
        if taken > self._left:
            self._file.write(bytes(data)[: max(0, self._left)])  # what fits is written, as on a disk
            (self._top / REFUSED).touch()
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
