"""Repetition of what storage refuses: a full disk may be emptied, a lost share may come back."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tune_qat.config import NotRead, StorageRefused
from tune_qat.storage.paths import StoragePath, cause_of, write_whole

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LOOK_S = 0.1
"""Seconds after which a pause ends once nothing is waited for any more."""
T = TypeVar("T")


class Read(Protocol):
    """Type of `Patience.read`, and of `at_once`, which does not wait."""

    def __call__(self, read: Callable[[], T]) -> T:
        """Return what `read` returns."""


def at_once(read: Callable[[], T]) -> T:
    """Return `read()`, without patience."""
    return read()


@dataclass
class Patience:
    """Time in seconds for which a refused read or write is repeated, with pauses that double.

    Once one of them has used it up, storage is not asked again: the study is stopping.
    """

    results: StoragePath
    seconds: float
    say: Callable[[str], Any] = lambda text: None
    """Function that is told of the first refusal."""
    landmark: StoragePath | None = None
    """File of the record that is there as long as its storage is; None for the results folder."""
    spent: bool = False
    """Whether nothing is waited for any more: the next refusal is final."""
    _refused: StorageRefused | None = None

    def write_whole(self, path: StoragePath, data: bytes | memoryview) -> None:
        """Write a file as `write_whole` does; raise `StorageRefused` once the time is used up."""

        def write() -> None:
            if not isinstance(self.results, Path) or not isinstance(path, Path):
                write_whole(path, data)
                return
            with self._held(self.results) as root:
                write_whole(path.relative_to(self.results), data, root)
            self._check_there()  # one that was lost meanwhile may have taken the file with it: it is written again

        self._repeat(write, f"{path} cannot be written")

    def read(self, read: Callable[[], T]) -> T:
        """Return `read()`, which only reads, or may be repeated; raise `StorageRefused` once the time is used up."""

        def whole() -> T:
            self._check_there()
            found = read()
            self._check_there()  # a folder that was lost meanwhile is read as an empty one
            return found

        return self._repeat(whole, f"{self.results} cannot be read")

    def _repeat(self, attempt: Callable[[], T], what: str) -> T:
        if self._refused is not None:
            raise self._refused
        began, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except (OSError, NotRead) as error:
                left = self.seconds - (time.monotonic() - began)
                if self.spent or left <= 0:
                    self._refused = StorageRefused(
                        f"{_refusal(what, error)}. The record is complete up to here: make room or bring the storage "
                        "back, and run the same command again."
                    )
                    raise self._refused from error
                if pause == FIRST_PAUSE_S:
                    self.say(f"{_refusal(what, error)}; trying again for {self.seconds:.0f} s")
            self._wait(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.spent and (left := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, left))

    @contextmanager
    def _held(self, results: Path) -> Iterator[int]:
        """Open the results folder, so that what is written goes to the one that was found to be there, or nowhere."""
        self._check_there()
        root = os.open(results, os.O_RDONLY)
        try:
            if self.landmark is not None:
                os.stat(Path(str(self.landmark)).relative_to(results), dir_fd=root)
            yield root
        finally:
            os.close(root)

    def _check_there(self) -> None:
        """Raise `FileNotFoundError` without the results folder: a file on an empty mount point would be lost."""
        if not isinstance(self.results, Path):
            return  # object storage is there, or does not answer
        if not self.results.is_dir() or not (self.landmark is None or self.landmark.exists()):
            raise FileNotFoundError(errno.ENOENT, "the results folder is gone", str(self.results))


def _refusal(what: str, error: OSError | NotRead) -> str:
    if isinstance(error, NotRead):
        return str(error).removesuffix(".")
    return f"{what}: {cause_of(error)}"
