"""Files of a results folder by name."""

import os
from contextlib import suppress
from pathlib import Path


class Store:
    """A results folder on a file system. Names are relative paths such as `probes/abc`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def at(cls, results: str | Path) -> "Store":
        """The store of a results folder."""
        return cls(Path(results).expanduser().absolute())

    def read(self, name: str) -> bytes:
        """Content of a file; `FileNotFoundError` where there is none."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Replace a file: a reader finds the old content or the new one."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there, and the folders inside the results folder that it leaves empty."""
        (self._root / name).unlink(missing_ok=True)
        with suppress(OSError):
            for folder in list(Path(name).parents)[:-1]:
                (self._root / folder).rmdir()
